"""What an identity wears: garments, colours, patterns, bag, hair colour, skin tone."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import Enum

from dgaug.data.toy.chance import chance, weighted

Colour = tuple[int, int, int]


class Upper(str, Enum):
    """Kind of upper garment."""

    TSHIRT = "t-shirt"
    LONG_SLEEVE = "long-sleeve"
    OPEN_JACKET = "open-jacket"
    COAT = "coat"
    HOODIE = "hoodie"
    TANK = "tank"
    DRESS = "dress"


class Lower(str, Enum):
    """Kind of lower garment."""

    TROUSERS = "trousers"
    SLIM = "slim"
    SHORTS = "shorts"
    SKIRT = "skirt"


class Pattern(str, Enum):
    """What is printed on the upper garment, in its second colour."""

    PLAIN = "plain"
    HORIZONTAL = "horizontal-stripes"
    VERTICAL = "vertical-stripes"
    CHECKS = "checks"
    YOKE = "yoke"
    SLEEVES = "sleeves"
    LOGO = "logo"


class Bag(str, Enum):
    """What the identity carries."""

    NONE = "none"
    BACKPACK = "backpack"
    SHOULDER = "shoulder-bag"
    HANDBAG = "handbag"


BLACK, CHARCOAL, GREY, SILVER, WHITE = (36, 36, 41), (70, 73, 80), (126, 130, 136), (186, 189, 193), (236, 236, 232)
NAVY, BLUE, SKY = (40, 52, 98), (54, 98, 176), (138, 180, 220)
RED, MAROON, PINK, ORANGE, YELLOW = (190, 48, 50), (116, 36, 50), (231, 158, 172), (224, 122, 52), (236, 194, 74)
GREEN, OLIVE, TEAL, MINT, PURPLE = (52, 120, 78), (112, 112, 70), (36, 124, 130), (158, 208, 182), (116, 78, 148)
BEIGE, KHAKI, BROWN, RUST = (214, 194, 160), (178, 156, 116), (112, 78, 56), (160, 84, 52)
DENIM, PALE_DENIM = (72, 98, 146), (134, 160, 196)

# Streets are mostly black, grey, white and blue: several identities share a colour and differ elsewhere.
UPPER_COLOURS: dict[Colour, float] = {
    BLACK: 12, WHITE: 9, GREY: 7, NAVY: 8, BLUE: 6, RED: 6, SKY: 4, CHARCOAL: 4, GREEN: 4, YELLOW: 4, BEIGE: 4, PINK: 3,
    MAROON: 3, SILVER: 2, OLIVE: 2, PURPLE: 2, ORANGE: 2, TEAL: 2, MINT: 1,
}  # fmt: skip
LOWER_COLOURS: dict[Colour, float] = {
    BLACK: 12, DENIM: 10, NAVY: 6, CHARCOAL: 5, KHAKI: 5, PALE_DENIM: 4, GREY: 4, BEIGE: 2, BROWN: 2, WHITE: 2,
    OLIVE: 1,
}  # fmt: skip
SHOE_COLOURS: dict[Colour, float] = {BLACK: 7, WHITE: 6, BROWN: 4, GREY: 3, RED: 2, BLUE: 2, RUST: 1}
BAG_COLOURS: dict[Colour, float] = {
    BLACK: 6, BROWN: 4, RED: 3, NAVY: 3, BLUE: 3, OLIVE: 2, YELLOW: 2, TEAL: 2, BEIGE: 2,
}  # fmt: skip
HAIR_COLOURS: dict[Colour, float] = {
    (30, 26, 26): 8, (62, 42, 32): 6, (104, 70, 46): 4, (198, 158, 96): 3, (150, 78, 44): 2, (158, 156, 154): 2,
}  # fmt: skip
SKIN_TONES: dict[Colour, float] = {
    (240, 202, 174): 5, (222, 176, 142): 5, (190, 138, 102): 3, (142, 96, 68): 3, (98, 66, 50): 2,
}  # fmt: skip

UPPERS = {
    Upper.TSHIRT: 9, Upper.LONG_SLEEVE: 5, Upper.OPEN_JACKET: 5, Upper.COAT: 3, Upper.HOODIE: 4, Upper.TANK: 2,
    Upper.DRESS: 3,
}  # fmt: skip
LOWERS = {Lower.TROUSERS: 6, Lower.SLIM: 6, Lower.SHORTS: 5, Lower.SKIRT: 3}
BAGS = {Bag.NONE: 9, Bag.BACKPACK: 5, Bag.SHOULDER: 4, Bag.HANDBAG: 3}
PATTERNS = {
    Pattern.PLAIN: 10, Pattern.HORIZONTAL: 5, Pattern.VERTICAL: 3, Pattern.CHECKS: 3, Pattern.YOKE: 3,
    Pattern.SLEEVES: 3, Pattern.LOGO: 4,
}  # fmt: skip
# Share of neighbouring identities (2k, 2k + 1) in garments of the same kind and first colour: what tells them apart is
# pattern, second colour, shoes, bag, hair and skin.
LOOK_ALIKES = 0.6


@dataclass(frozen=True, slots=True)
class Appearance:
    """What the identity wears; colours are RGB, 0..255."""

    upper: Upper
    upper_colour: Colour
    pattern: Pattern
    second_colour: Colour
    lower: Lower
    lower_colour: Colour
    side_stripe: bool
    shoes_colour: Colour
    hair_colour: Colour
    skin_tone: Colour
    bag: Bag
    bag_colour: Colour
    cap_colour: Colour

    @classmethod
    def of(cls, seed: int, identity: int) -> Appearance:
        """The appearance of `identity` in the world of `seed`: the same in all its images."""
        draw, outfit = chance(seed, "appearance", identity), chance(seed, "outfit", identity)
        alike = chance(seed, "look-alikes", identity // 2)
        if alike.random() < LOOK_ALIKES:
            outfit = alike
        upper, upper_colour = weighted(outfit, UPPERS), weighted(outfit, UPPER_COLOURS)
        lower, lower_colour = weighted(outfit, LOWERS), weighted(outfit, LOWER_COLOURS)
        return cls(
            upper=upper,
            upper_colour=upper_colour,
            pattern=_pattern(draw, upper),
            second_colour=_contrasting(draw, upper_colour),
            lower=lower,
            lower_colour=lower_colour,
            side_stripe=lower is Lower.TROUSERS and draw.random() < 0.2,
            shoes_colour=weighted(draw, SHOE_COLOURS),
            hair_colour=weighted(draw, HAIR_COLOURS),
            skin_tone=weighted(draw, SKIN_TONES),
            bag=weighted(draw, BAGS),
            bag_colour=weighted(draw, BAG_COLOURS),
            cap_colour=weighted(draw, BAG_COLOURS),
        )


def _pattern(draw: random.Random, upper: Upper) -> Pattern:
    pattern = weighted(draw, PATTERNS)
    # Outer garments are mostly plain, and a tank has no sleeves to colour.
    if upper is Upper.COAT and pattern not in (Pattern.PLAIN, Pattern.CHECKS):
        return Pattern.PLAIN
    if upper in (Upper.TANK, Upper.DRESS) and pattern in (Pattern.SLEEVES, Pattern.LOGO):
        return Pattern.HORIZONTAL
    if upper is Upper.OPEN_JACKET and pattern is Pattern.LOGO:
        return Pattern.PLAIN
    return pattern


def _contrasting(draw: random.Random, first: Colour) -> Colour:
    """A second colour that a small image still tells from the first."""
    far = {colour: weight for colour, weight in UPPER_COLOURS.items() if math.dist(colour, first) > 110}
    return weighted(draw, far)
