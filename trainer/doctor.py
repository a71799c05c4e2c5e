"""Tells whether this machine can run the project, on what, and how to mend it.

python -m trainer.doctor [--output=runs] [--json]

--output names the folder whose disk is tested. The exit code is 0, or 6 where
something is red.
"""

from data_prep.failures import ExitCode
from flags import command
from flags import common
from flags import doctor as doctor_flags


def main() -> ExitCode:
    from trainer.machine import examination
    from trainer.machine import screen

    colour, found = screen.coloured(), []
    for title, findings in examination.examine(doctor_flags.output()):
        found += findings
        if findings and not doctor_flags.as_json():
            print(screen.section(title, findings, colour=colour), flush=True)
    if doctor_flags.as_json():
        print(screen.as_json(found))
    else:
        print(screen.summary(found, colour=colour))
    return examination.exit_code(found)


if __name__ == "__main__":
    command.run(main, doctor_flags, common)
