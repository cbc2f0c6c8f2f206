"""What came of trying a promise."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """How often a promise was tried, what broke it, and what else was measured."""

    tried: int = 0
    broken: list[str] = field(default_factory=list)
    measured: dict[str, float | int | str] = field(default_factory=dict)

    def check(self, holds, what):
        """Count one try; note what broke."""
        self.tried += 1
        if not holds:
            self.broken.append(what)

    def most(self, name, value):
        """Keep the greatest of some measured values."""
        self.measured[name] = max(self.measured.get(name, value), value)

    @property
    def figure(self):
        """In words."""
        more = "".join(f"; {name} {value:.4g}" if isinstance(value, float) else f"; {name} {value}"
                       for name, value in self.measured.items())  # fmt: skip
        return f"{self.tried:,} tried, {len(self.broken)} broken{more}"
