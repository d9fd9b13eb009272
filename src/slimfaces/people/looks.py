"""The random traits of a person and of a mask, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from slimfaces.brush import Colour, mixed, random_colour, rgb, scaled

__all__ = ["Look", "MaskLook", "random_look", "random_mask"]

# (red, green, blue), the order in which people write colours; from light to dark
SKIN = (
    (244, 210, 188),
    (240, 198, 170),
    (233, 186, 152),
    (228, 178, 140),
    (212, 158, 118),
    (190, 134, 96),
    (160, 106, 74),
    (128, 84, 58),
    (98, 64, 46),
    (72, 48, 36),
)
SKIN_SHARE = (0.13, 0.16, 0.16, 0.13, 0.10, 0.09, 0.08, 0.07, 0.05, 0.03)
HAIR = {
    "black": (26, 22, 24),
    "dark": (48, 34, 28),
    "brown": (84, 56, 38),
    "chestnut": (112, 70, 44),
    "light": (150, 112, 74),
    "blond": (214, 176, 118),
    "red": (150, 72, 38),
    "grey": (140, 140, 142),
    "white": (214, 212, 208),
    "dyed": (150, 60, 120),
}
CLOTHES = (
    (40, 44, 60),
    (30, 30, 34),
    (230, 230, 228),
    (170, 60, 56),
    (60, 90, 150),
    (70, 120, 90),
    (200, 170, 90),
    (120, 120, 126),
    (90, 70, 60),
    (160, 190, 215),
    (215, 150, 160),
    (90, 60, 110),
    (210, 205, 190),
    (46, 70, 56),
)
HATS = ("none", "cap", "beanie", "hijab", "brim", "helmet", "surgeon", "hood")
HAT_SHARE = (0.67, 0.07, 0.06, 0.07, 0.035, 0.035, 0.03, 0.03)
MEN_HAIR = ("bald", "buzz", "short", "parted", "receding", "curly")
WOMEN_HAIR = ("long", "bob", "fringe", "bun", "afro", "wavy", "parted")


@dataclass(frozen=True, kw_only=True)
class MaskLook:
    """A mask: its kind ("surgical", "cup", "fold", "cloth", "gaiter"), pattern, colours, and how it is worn.

    `worn` is "full", "below_nose" or "chin"; only "full" counts as face_mask.
    """

    kind: str
    colour: Colour
    second: Colour
    pattern: str = "plain"
    worn: str = "full"
    valve: bool = False
    drop: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """Traits of one person. Lengths are in head units or factors of the usual length; shares lie in 0–1."""

    man: bool
    age: str
    skin: Colour
    hair: Colour
    hair_style: str
    hat: str
    hat_colour: Colour
    beard: str
    glasses: str
    jaw: float
    chin: float
    width: float
    broad_nose: float
    eye_size: float
    eye_colour: Colour
    eye_open: float
    slant: float
    gaze: tuple[float, float]
    brow: float
    mouth: str
    lip: Colour
    clothes: str
    cloth: Colour
    cloth_second: Colour
    bulk: float
    seed: int
    mask: MaskLook | None = field(default=None)

    @property
    def lines(self) -> float:
        """How deep the lines of the face are, 0–1, by age."""
        return {"child": 0.0, "young": 0.0, "adult": 0.5, "old": 1.0}[self.age]


def random_look(generator: np.random.Generator, mask: MaskLook | None) -> Look:
    """A random person wearing `mask`."""
    man = bool(generator.random() < 0.5)
    age = str(generator.choice(["child", "young", "adult", "old"], p=[0.12, 0.36, 0.36, 0.16]))
    tone = int(generator.choice(len(SKIN), p=SKIN_SHARE))
    skin = _jittered(generator, rgb(*SKIN[tone]), 0.04)
    style = str(generator.choice(MEN_HAIR if man else WOMEN_HAIR))
    if age == "child" and style in ("bald", "receding"):
        style = "short"
    hat = str(generator.choice(HATS, p=HAT_SHARE))
    if hat == "hijab" and man:
        hat = "cap"
    beard = "none"
    if man and age in ("young", "adult", "old"):
        beard = str(
            generator.choice(["none", "stubble", "full", "goatee", "moustache"], p=[0.48, 0.2, 0.16, 0.08, 0.08])
        )
    lip = mixed(skin, rgb(178, 70, 70), 0.48)
    if not man and age != "child" and generator.random() < 0.4:
        lip = mixed(skin, rgb(186, 30, 50), 0.75)
    glasses = str(generator.choice(["none", "clear", "sun"], p=[0.8, 0.14, 0.06]))
    first, second = (rgb(*CLOTHES[int(k)]) for k in generator.choice(len(CLOTHES), 2, replace=False))
    kinds = ["tee", "shirt", "suit", "hoodie", "striped", "scrubs", "jacket", "vneck"]
    eyes = (rgb(70, 44, 28), rgb(50, 32, 24), rgb(92, 66, 36), rgb(84, 110, 130), rgb(86, 104, 70))
    return Look(
        man=man,
        age=age,
        skin=skin,
        hair=_hair_colour(generator, age, tone),
        hair_style=style,
        hat=hat,
        hat_colour=_jittered(generator, rgb(*CLOTHES[int(generator.integers(len(CLOTHES)))]), 0.1),
        beard=beard,
        glasses=glasses,
        jaw=float(np.clip(generator.normal(0.62 if man else 0.36, 0.17), 0, 1)),
        chin=float(generator.uniform(-0.06, 0.07)) - (0.16 if age == "child" else 0.0),
        width=float(generator.uniform(0.93, 1.06)) + (0.04 if age == "child" else 0.0),
        broad_nose=float(np.clip(generator.normal(0.35 + 0.06 * tone, 0.25), 0, 1)),
        eye_size=float(generator.uniform(0.88, 1.1)) * (1.18 if age == "child" else 1.0),
        eye_colour=eyes[int(generator.integers(2 if tone > 4 else 5))],
        eye_open=float(np.clip(generator.normal(0.98, 0.2), 0.3, 1.25)) if generator.random() > 0.05 else 0.0,
        slant=float(generator.normal(0.02, 0.035)),
        gaze=(float(generator.normal(0, 0.35)), float(generator.normal(0, 0.15))),
        brow=float(generator.uniform(0.7, 1.35)) * (1.15 if man else 0.8),
        mouth=str(generator.choice(["neutral", "smile", "grin", "open", "small"], p=[0.34, 0.27, 0.2, 0.09, 0.1])),
        lip=lip,
        clothes=str(generator.choice(kinds)),
        cloth=_jittered(generator, first, 0.12),
        cloth_second=_jittered(generator, second, 0.12),
        bulk=float(generator.uniform(0.88, 1.12)) * (1.06 if man else 0.93) * (0.84 if age == "child" else 1.0),
        seed=int(generator.integers(2**31)),
        mask=mask,
    )


def random_mask(generator: np.random.Generator, worn: str) -> MaskLook:
    """A random mask worn as asked ("full", "below_nose" or "chin")."""
    kind = str(generator.choice(["surgical", "cup", "fold", "cloth", "gaiter"], p=[0.56, 0.11, 0.12, 0.18, 0.03]))
    pattern, valve = "plain", False
    colour, second = random_colour(generator, vivid=0.6), random_colour(generator, vivid=0.6)
    if kind == "surgical":
        paints: tuple[Colour, ...] = (
            rgb(126, 186, 216),
            rgb(150, 200, 226),
            rgb(238, 240, 242),
            rgb(40, 40, 44),
            rgb(150, 206, 180),
            rgb(232, 178, 192),
        )
        colour = paints[int(generator.choice(6, p=[0.32, 0.22, 0.23, 0.13, 0.06, 0.04]))]
    elif kind in ("cup", "fold"):
        paints = (rgb(244, 244, 242), rgb(238, 238, 240), rgb(44, 44, 48), rgb(188, 190, 194))
        colour = paints[int(generator.choice(4, p=[0.5, 0.26, 0.15, 0.09]))]
        valve = bool(generator.random() < 0.3)
    else:
        pattern = str(
            generator.choice(
                ["plain", "dots", "stripes", "plaid", "flowers", "logo"], p=[0.4, 0.12, 0.14, 0.1, 0.12, 0.12]
            )
        )
        if generator.random() < 0.3:
            colour = rgb(*[generator.uniform(20, 60)] * 3)
    drop = {"full": float(generator.uniform(-0.04, 0.07)), "below_nose": 0.47, "chin": 0.9}[worn]
    return MaskLook(
        kind=kind,
        colour=_jittered(generator, colour, 0.05),
        second=second,
        pattern=pattern,
        worn=worn,
        valve=valve,
        drop=drop,
    )


def _hair_colour(generator: np.random.Generator, age: str, tone: int) -> Colour:
    names = ["black", "dark", "brown", "chestnut", "light", "blond", "red", "grey", "white", "dyed"]
    if age == "old":
        share = [0.08, 0.06, 0.06, 0.02, 0.04, 0.03, 0.01, 0.42, 0.28, 0.0]
    elif tone > 4:
        share = [0.6, 0.28, 0.06, 0.02, 0.01, 0.01, 0.0, 0.01, 0.0, 0.01]
    else:
        share = [0.27, 0.22, 0.18, 0.1, 0.07, 0.1, 0.03, 0.02, 0.0, 0.01]
    return _jittered(generator, rgb(*HAIR[str(generator.choice(names, p=share))]), 0.08)


def _jittered(generator: np.random.Generator, colour: Colour, amount: float) -> Colour:
    return scaled(colour, float(np.clip(1 + generator.normal(0, amount), 0.7, 1.3)))
