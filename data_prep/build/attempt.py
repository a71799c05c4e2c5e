"""One attempt at writing a shard, and whether it is still wanted.

A node that was given up lives on, and a queue starts a job twice: so an attempt may be
late for what it is part of, and must then change nothing.
"""

import dataclasses

from data_prep.build import shard_facts
from data_prep.build import work_folder
from data_prep.build.shard_facts import ShardFacts
from data_prep.build.work_folder import Building
from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


@dataclasses.dataclass(frozen=True)
class Attempt:
    """An attempt at one shard.

    Attributes:
      config: the conversion.
      name: of the shard.
      building: what it is part of.
    """

    config: ConvertConfig
    name: str
    building: Building

    def is_wanted(self) -> bool:
        """Returns whether no attempt has finished the shard.

        Raises:
          CommandError: what it is part of was ended, or is built by another plan.
        """
        if not self.building.claim or (
            work_folder.building(self.config) != self.building
        ):
            raise CommandError(
                ExitCode.CONFLICT,
                f"what this attempt at {self.name} is part of is not being built in "
                f"{self.config.output} any more",
                fix="another run has ended it or planned again; let that go on",
            )
        return not shard_facts.exist(self.config, self.name)

    def write_facts(self, facts: ShardFacts) -> None:
        """Writes the facts of the shard, whose files are written.

        Raises:
          CommandError: what it is part of was ended.
        """
        shard_facts.write(self.config, self.name, facts, claim=self.building.claim)
