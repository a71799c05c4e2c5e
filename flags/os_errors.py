"""Which faults of the operating system a user can mend, and how."""

import errno

_ROOM = "make room"
_ACCESS = "give access"
_PATH = "correct the path"
# What one line explains. All others have a traceback, because it takes one to tell
# whether the fault is ours.
_FIXES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "make room: raise the limit of the size of files (ulimit -f)",
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: "mount it writable, or choose another folder",
    errno.ENOENT: _PATH,
    errno.ENOTDIR: _PATH,
    errno.EISDIR: _PATH,
    errno.EEXIST: _PATH,
    errno.ELOOP: _PATH,
    errno.ENAMETOOLONG: _PATH,
}
# Room may lack for the output itself, which has no name; the others are of a file.
_WITHOUT_NAME = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Not our bug, and with more than one cause: a disk or a network that fails, too many
# open files, processes or locks, no memory.
OF_MACHINE = frozenset(
    {
        errno.EIO,
        errno.ENXIO,
        errno.ENODEV,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,
        errno.ENOMEM,
        errno.ENOLCK,
    }
)


def fix(error: OSError) -> str:
    """Returns what the user can do, or "" where that takes a traceback to tell."""
    if error.filename is None and error.errno not in _WITHOUT_NAME:
        return ""
    return _FIXES.get(error.errno, "")
