"""`holdfast demo`."""

from dataclasses import dataclass

from holdfast.cli.run import Seeded


@dataclass(frozen=True, kw_only=True)
class Demo(Seeded):
    """Plant two backdoors in a digit classifier, train it three ways, say what held. A minute on 2 cores."""

    def run(self) -> int:
        """Run the built-in study."""
        from holdfast.demo import demo

        return self.go(self.with_seeds(demo()))
