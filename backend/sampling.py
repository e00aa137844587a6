"""How the next token is chosen. Imports no torch, so that a screen can lay out its form."""

from pydantic import Field

from backend.settings import Settings


class Sampling(Settings):
    """How the next token is chosen."""

    temperature: float = Field(
        0.0, ge=0, le=5, title="Temperature",
        description="0 always takes the likeliest word; higher is more varied, and wilder.",
    )
    top_p: float = Field(
        1.0, gt=0, le=1, title="Top-p",
        description="Only the likeliest words that together reach this share may be drawn. Lower is safer.",
    )
    max_tokens: int = Field(
        256, ge=1, le=8192, title="Longest answer (tokens)", description="An answer is cut off after so many tokens.",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Seed", description="The same seed and settings give the same answer again.",
    )
