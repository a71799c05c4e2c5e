"""Checks whether this machine can run the project, on what, and how to fix it.

python -m trainer.doctor [--output=runs] [--json]

--output names the folder whose disk is tested. The exit code is 0, or 6 where
something is red.
"""

import sys

from data_prep.core import installing
from data_prep.core.errors import ExitCode
from trainer.machine import packages

try:
    from flags import command
    from flags import doctor as doctor_flags
except ModuleNotFoundError as e:
    # Without absl there are no flags, and so no report. The likeliest reason is a
    # Python for which pip did not install the project.
    old = [f"Python {f.text}; {f.fix}" for f in packages.python() if f.fix]
    line = old[0] if old else f"{e}; {installing.everything()}"
    print(f"ERROR {ExitCode.ENVIRONMENT.name}: {line}", file=sys.stderr)
    sys.exit(ExitCode.ENVIRONMENT)


def main() -> ExitCode:
    folder, as_json = doctor_flags.output(), doctor_flags.as_json()
    from trainer.machine import examination
    from trainer.machine import screen

    colour, all_findings = screen.coloured(), []
    for title, findings in examination.examine(folder):
        all_findings += findings
        if findings and not as_json:
            print(screen.section(title, findings, colour=colour), flush=True)
    if as_json:
        print(screen.as_json(all_findings))
    else:
        print(screen.summary(all_findings, colour=colour))
    return examination.exit_code(all_findings)


if __name__ == "__main__":
    command.run(main, doctor_flags.GROUPS)
