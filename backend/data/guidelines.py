"""How rows of a data set are to be written: what stands beside the editor, and goes with every version."""

from pydantic import Field

from backend.settings import Settings


class Guidelines(Settings):
    """What whoever writes a row should know. All of it may be empty."""

    purpose: str = Field("", title="Purpose", description="What the model shall be able to do once it has learnt these rows.")
    steps: str = Field("", title="Step by step", description="How one row is written, from the first thought to the last check.")
    pitfalls: str = Field("", title="Pitfalls", description="What goes wrong easily, and what to do instead.")
    form: str = Field("", title="Form", description="Tone, person, layout: what every answer has in common.")
    length: str = Field("", title="Length limits", description="How long a prompt and an answer may be, in words or lines.")
    good: str = Field("", title="Good examples", description="Answers to write like, and why they are good.")
    bad: str = Field("", title="Bad examples", description="Answers not to write, and what is wrong with them.")

    @classmethod
    def of(cls, kept: dict[str, str]) -> "Guidelines":
        """The guidelines as a card or a draft keeps them; what an older or newer studio called otherwise is left out."""
        return cls(**{name: text for name, text in kept.items() if name in cls.model_fields})

    def kept(self) -> dict[str, str]:
        """What a card or a draft keeps: the parts that say something."""
        return {name: text for name, text in self.model_dump().items() if text.strip()}
