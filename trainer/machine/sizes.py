"""Sizes in bytes for display."""


def shown(count: int) -> str:
    """Returns bytes as "640 MB" or "80 GB", in units of 1024."""
    if count < 1 << 30:
        return f"{count >> 20} MB"
    size = count / (1 << 30)
    return f"{size:.1f} GB" if size < 10 else f"{size:.0f} GB"
