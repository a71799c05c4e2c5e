"""Tells whether this machine can run the project, on what, and how to mend it.

python -m trainer.doctor [--output=runs] [--json]

--output names the folder whose disk is tested. The exit code is 0, or 6 where
something is red.
"""

from data_prep.failures import ExitCode
from flags import command
from flags import doctor as doctor_flags


def main() -> ExitCode:
    folder, as_json = doctor_flags.output(), doctor_flags.as_json()
    from trainer.machine import examination
    from trainer.machine import screen

    colour, found = screen.coloured(), []
    for title, findings in examination.examine(folder):
        found += findings
        if findings and not as_json:
            print(screen.section(title, findings, colour=colour), flush=True)
    if as_json:
        print(screen.as_json(found))
    else:
        print(screen.summary(found, colour=colour))
    return examination.exit_code(found)


if __name__ == "__main__":
    command.run(main, doctor_flags.GROUPS)
