"""Agente Hotel: an env file, and machines that are containers of a Compose project (its double)."""

from collections.abc import Mapping

from tests.doubles.installed import container
from tests.e2e.packs.case import Case
from tests.e2e.packs.system import System

LIMIT = 120  # requests a minute that a machine takes


class AgenteHotel(System):
    """The hotel."""

    pack = "agente-hotel"
    standin = "hotel"
    jobs = ("agente-hotel-nginx",)
    env_text = f"# read at start\nPMS_TYPE=qloapps\nexport RATE_LIMIT_PER_MINUTE={LIMIT}\n"

    async def lay_out(self) -> None:
        """Run one machine."""
        self.tools = self.doubles()
        folder = str(self.home / "compose")
        self.tools.change(
            "docker",
            {
                "folder": folder,
                "files": [f"{folder}/compose.yml"],
                "containers": [container("ab", "api", folder)],
            },
        )
        self.parts["docker"] = str(self.tools.folder / "docker.json")

    @property
    def vars(self) -> Mapping[str, str]:
        """Lead the pack to the parts."""
        return {
            "app": self.app,
            "config": f"env://{self.env_path}",
            "fleet": "compose://bookgen/api",
            "url": self.url,
            "within": "4s",
            "windowed_within": "4s",
        }

    def machines(self) -> int:
        """Count the machines that run."""
        return len(self.tools.state("docker")["containers"])

    async def state(self) -> dict[str, object]:
        """Say how the parts are."""
        return {**await super().state(), "machines": self.machines()}


def _wider_and_more(system: AgenteHotel) -> None:
    assert (system.env()["export RATE_LIMIT_PER_MINUTE"], system.machines()) == ("300", 3)


CASES = (
    Case(
        "agente-hotel",
        "traffic-headroom",
        "flag-scale",
        steps=("flag", "restart", "scale"),
        begin=lambda system: system.breaks(traffic=22),
        held=_wider_and_more,
        end=lambda system: system.breaks(traffic=1),
        told={"oncall"},
    ),
)
