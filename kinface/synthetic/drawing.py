"""Schematic faces, 112x112, aligned to ArcFace's five points, drawn from a vector of named features.

A face is polygons drawn at three times its size and averaged down (which smooths their edges), then light, shadow,
blur and noise added to its pixels. Every feature moves something one can see by an amount nearly linear in its value
and, where it can be, of the same size in pixels or grey levels wherever the other features stand: light is added,
not multiplied, so features are no harder to see on dark skin than on light.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 112  # pixels
EYES, EYE_Y, NOSE_Y, MOUTH_X, MOUTH_Y = (38.3, 73.5), 51.6, 71.7, 56.0, 92.3  # of ArcFace's template (Deng et al. 2019)
OVERSAMPLING = 3
CIRCLE = np.linspace(0, 2 * np.pi, 28, endpoint=False)
COSINE, SINE = np.cos(CIRCLE), np.sin(CIRCLE)
ACROSS = np.linspace(-1, 1, 9)  # from one end of an eye, brow or lip to the other


@dataclass(frozen=True)
class Look:
    """What is drawn: each feature in standard deviations from an average face, within about -2 to 2 among one group."""

    face_width: float
    jaw_width: float
    chin_length: float
    hairline: float  #: a high value leaves a high forehead
    eye_size: float
    eye_slant: float
    eye_colour: float  #: from brown to blue
    brow_thickness: float
    brow_height: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_fullness: float
    lip_redness: float
    hair_lightness: float
    hair_redness: float
    skin_lightness: float
    skin_redness: float
    rosy_cheeks: float
    hair_curl: float
    hair_length: float
    beard: float  #: none below 0
    freckles: float  #: none below 0


STYLE = ("hair_length", "beard", "freckles")  # chosen, not inherited
TRAITS = tuple(field.name for field in fields(Look) if field.name not in STYLE)


def draw_face(look: Look, age: float, rng: np.random.Generator) -> Image.Image:
    """Draw one photograph, 112x112 RGB, of a person by the features as an adult, at an age in years.

    A child has larger eyes, a shorter nose and chin and no beard; from 40 on hair greys and the skin wrinkles. ``rng``
    draws what differs between photographs: pose, expression, light, background, sharpness, noise.
    """
    canvas = _Canvas(rng)
    face = _Face(look, age, rng)
    face.draw_behind(canvas)
    face.draw_skin(canvas)
    for side, x in zip((-1, 1), EYES, strict=True):
        face.draw_eye(canvas, side, x)
    face.draw_nose(canvas)
    face.draw_mouth(canvas)
    face.draw_hair(canvas)
    return _photograph(canvas.image, look, rng)


class _Canvas:
    """An image that takes shapes in the template's pixel coordinates and draws them turned, scaled and shifted."""

    def __init__(self, rng: np.random.Generator):
        self.image = Image.new("RGB", (SIZE * OVERSAMPLING,) * 2, _rgb(_muted(rng)))
        self._draw = ImageDraw.Draw(self.image)
        angle, scale = rng.normal(0, 0.03), OVERSAMPLING * rng.normal(1, 0.015)
        self._cosine, self._sine = scale * np.cos(angle), scale * np.sin(angle)
        self._shift = OVERSAMPLING * (SIZE / 2 + rng.normal(0, 0.8, 2))

    def _place(self, x: np.ndarray, y: np.ndarray) -> list[float]:
        """Turn and scale points about the image's centre; x and y alternate in what is returned."""
        x, y = x - SIZE / 2, y - SIZE / 2
        placed = np.empty(2 * len(x))
        placed[0::2] = self._cosine * x - self._sine * y + self._shift[0]
        placed[1::2] = self._sine * x + self._cosine * y + self._shift[1]
        return placed.tolist()

    def fill(self, x: np.ndarray, y: np.ndarray, colour: np.ndarray) -> None:
        self._draw.polygon(self._place(x, y), fill=_rgb(colour))

    def ellipse(self, x: float, y: float, width: float, height: float, colour: np.ndarray) -> None:
        self.fill(x + width * COSINE, y + height * SINE, colour)

    def dots(self, x: np.ndarray, y: np.ndarray, radius: float, colour: np.ndarray) -> None:
        placed, radius, fill = self._place(x, y), radius * OVERSAMPLING, _rgb(colour)
        for across, down in zip(placed[0::2], placed[1::2], strict=True):
            self._draw.ellipse((across - radius, down - radius, across + radius, down + radius), fill=fill)

    def line(self, x: np.ndarray, y: np.ndarray, width: float, colour: np.ndarray) -> None:
        self._draw.line(self._place(x, y), fill=_rgb(colour), width=round(width * OVERSAMPLING), joint="curve")


def _muted(rng: np.random.Generator) -> np.ndarray:
    """A colour for what is not the person's: backgrounds and clothes."""
    return rng.uniform(50, 205) + rng.uniform(-28, 28, 3)


def _rgb(colour: np.ndarray) -> tuple[int, int, int]:
    return tuple(int(min(max(value, 0), 255)) for value in colour)


class _Face:
    """The shapes and colours that a look has at an age, with the expression of one photograph."""

    def __init__(self, look: Look, age: float, rng: np.random.Generator):
        self.look, self.rng = look, rng
        self.child = float(np.clip((18 - age) / 14, 0, 1))
        self.wrinkled = float(np.clip((age - 35) / 40, 0, 1))
        grey = 0.65 * float(np.clip((age - 42) / 28, 0, 1))
        self.skin = (
            np.array([200, 155, 128])
            + look.skin_lightness * np.array([15, 15, 15])
            + look.skin_redness * np.array([6, -5, -7])
        )
        hair = (
            np.array([98, 78, 66])
            + look.hair_lightness * np.array([28, 25, 19])
            + look.hair_redness * np.array([13, -2, -7])
        )
        self.hair = (1 - grey) * hair + grey * np.array([205, 205, 208])
        self.brow = self.hair * 0.75
        self.width = 40 + 3.6 * look.face_width + 1.5 * self.child
        self.chin = 104.5 + 3.6 * look.chin_length - 4 * self.child
        self.hairline = 23 - 4.5 * look.hairline - 3 * self.child
        self.yaw = rng.normal(0, 1.0)  # pixels by which the outline lags behind the features
        self.smile = rng.normal(0.5, 0.8)
        self.mouth_open = max(0.0, rng.normal(-0.3, 1.0))

    def draw_behind(self, canvas: _Canvas) -> None:
        """Background's lower half, long hair, neck, clothes, ears."""
        look, centre = self.look, 56 - self.yaw
        canvas.fill(np.array([-40, 152, 152, -40]), np.array([70, 60, 160, 160]), _muted(self.rng))
        length = 62 + 34 * look.hair_length
        if length > 56:
            canvas.ellipse(centre, 48, self.width + 11, 50, self.hair * 0.9)
            side = self.width + 10 + 1.5 * look.hair_curl * np.sin(np.linspace(0, 14, 15))
            down = np.linspace(45, length, 15)
            canvas.fill(np.r_[centre - side, centre + side[::-1]], np.r_[down, down[::-1]], self.hair * 0.9)
        shade = self.skin - 26
        canvas.fill(centre + np.array([-22, 22, 26, -26]), np.array([80, 80, 130, 130]), shade)
        canvas.ellipse(centre, 132, 62, 18, _muted(self.rng))
        for side in (-1, 1):
            canvas.ellipse(centre + side * (self.width + 1), 60, 5, 10, self.skin - 12)

    def draw_skin(self, canvas: _Canvas) -> None:
        """The outline of the face, its beard, freckles and wrinkles."""
        look, rng, centre = self.look, self.rng, 56 - self.yaw
        square = np.clip(0.78 - 0.2 * look.jaw_width + 0.08 * self.child, 0.3, 1.3)
        below = SINE > 0
        x = centre + self.width * np.sign(COSINE) * np.abs(COSINE) ** np.where(below, square, 0.9)
        y = 54 + np.where(below, self.chin - 54, 46) * SINE
        canvas.fill(x, y, self.skin)
        if look.beard > 0 and self.child == 0:
            stubble = self.skin + min(0.25 + 0.5 * look.beard, 0.8) * (self.hair * 0.8 - self.skin)
            jaw = y > 74
            order = np.argsort(-x[jaw])
            canvas.fill(x[jaw][order], y[jaw][order], stubble)
            canvas.ellipse(56, 77, self.width * 0.72, 12, self.skin)
            canvas.ellipse(56, 92, 19, 9, self.skin)
            canvas.fill(56 + 16 * np.r_[ACROSS, 1.05, -1.05], np.r_[84 + 2 * ACROSS**2, 90, 90], stubble)
        contrast = 24 * max(look.freckles, 0)
        canvas.dots(56 + rng.uniform(-25, 25, 26), 68 + rng.uniform(-7, 9, 26), 0.8, self.skin - contrast)
        self._draw_wrinkles(canvas)

    def _draw_wrinkles(self, canvas: _Canvas) -> None:
        crease = self.skin - 12 - 38 * self.wrinkled
        for side in (-1, 1):  # from the wings of the nose to the corners of the mouth
            canvas.line(56 + side * (12 + 7 * np.array([0, 0.6, 1])), np.array([74, 80, 88]), 0.7, crease)
        if self.wrinkled > 0.1:
            for row in (31, 36, 41)[: 1 + round(2 * self.wrinkled)]:
                canvas.line(56 + 20 * ACROSS, row - 1.5 * ACROSS**2, 0.7, crease)
            for side, x in zip((-1, 1), EYES, strict=True):
                canvas.line(x + 8 * ACROSS, EYE_Y + 9 - 2 * ACROSS**2, 0.7, crease)
                for slope in (-3, 0, 3):
                    canvas.line(x + side * np.array([12, 17]), EYE_Y + np.array([slope * 0.3, slope]), 0.7, crease)

    def draw_eye(self, canvas: _Canvas, side: int, x: float) -> None:
        """White, iris, pupil, upper lid and brow of one eye (side -1 is left in the image)."""
        look = self.look
        width = 8.6 + 0.5 * look.eye_size
        height = max(1.6, 4.4 + 1.0 * look.eye_size + 0.9 * self.child - 0.5 * self.wrinkled)
        slope = -side * 0.16 * look.eye_slant  # positive slant lifts the outer corners
        slant = slope * ACROSS * width
        lid = 1 - ACROSS**2
        upper, lower = EYE_Y - height * lid + slant, EYE_Y + 0.75 * height * lid + slant
        canvas.fill(x + width * np.r_[ACROSS, ACROSS[::-1]], np.r_[upper, lower[::-1]], (242, 240, 236))
        iris = np.array([96, 98, 98]) + look.eye_colour * np.array([-26, 8, 40])
        gaze = x + self.yaw * 0.3
        for radius, colour in ((4.6, iris), (1.7, (18, 14, 14))):
            across, down = gaze + radius * COSINE, EYE_Y + radius * SINE
            at = (across - x) / width
            bend = slope * (across - x)
            down = np.clip(down, EYE_Y - height * (1 - at**2) + bend, EYE_Y + 0.75 * height * (1 - at**2) + bend)
            canvas.fill(across, down, colour)
        canvas.ellipse(gaze + 1.2, EYE_Y - 1.4, 0.7, 0.7, (250, 250, 250))
        canvas.line(x + width * ACROSS, upper, 1.2, self.skin * 0.42)
        canvas.line(x + width * ACROSS, upper - 3, 0.5, self.skin - 30)
        thickness = max(0.5, 2.4 + 1.0 * look.brow_thickness - 0.8 * self.child)
        arch = EYE_Y - 11.5 - 2.4 * look.brow_height - 2.2 * (1 - ACROSS**2) + 0.5 * slant
        taper = thickness * (1 - 0.35 * ACROSS * side)
        canvas.fill(x + 11 * np.r_[ACROSS, ACROSS[::-1]], np.r_[arch - taper, (arch + taper)[::-1]], self.brow)

    def draw_nose(self, canvas: _Canvas) -> None:
        """Bridge, wings and nostrils."""
        look = self.look
        width = max(4.0, 9.8 + 2.2 * look.nose_width - 0.5 * self.child)
        tip = NOSE_Y + 3 + 2.4 * look.nose_length - 2.5 * self.child
        bridge = 56 + self.yaw * 0.5
        for side in (-1, 1):
            x = bridge + side * np.array([4, 3.5, 4.5, width * 0.8])
            canvas.line(x, np.array([50, 58, 66, tip - 3]), 1.0, self.skin - 20)
            canvas.ellipse(56 + self.yaw + side * width * 0.68, tip - 1, width * 0.36, 3.4, self.skin - 24)
        canvas.ellipse(56 + self.yaw, tip - 1.4, width * 0.62, 4.2, self.skin - 6)
        canvas.ellipse(56 + self.yaw, tip - 2.6, width * 0.3, 2.2, self.skin + 14)
        for side in (-1, 1):
            canvas.ellipse(56 + self.yaw + side * width * 0.48, tip + 1.4, width * 0.2, 1.2, self.skin * 0.45)

    def draw_mouth(self, canvas: _Canvas) -> None:
        """Lips, and teeth when the mouth is open."""
        look = self.look
        width = 14.6 + 2.8 * look.mouth_width + 1.0 * self.smile
        full = max(1.0, 4.4 + 1.6 * look.lip_fullness - 0.5 * self.child - 0.6 * self.wrinkled)
        lip = self.skin + np.array([0, -44, -36]) + look.lip_redness * np.array([8, -15, -9])
        x, curve = MOUTH_X + width * ACROSS, 1 - ACROSS**2
        middle = MOUTH_Y - self.smile * 1.6 * (ACROSS**2 - 0.4)
        bow = curve - 0.25 * np.exp(-((ACROSS / 0.18) ** 2))
        gap = 2.2 * self.mouth_open * curve
        canvas.fill(np.r_[x, x[::-1]], np.r_[middle - 0.8 * full * bow, (middle + 1.2 * full * curve + gap)[::-1]], lip)
        if self.mouth_open > 0.2:
            canvas.fill(np.r_[x, x[::-1]] * 0.92 + 4.5, np.r_[middle, (middle + gap)[::-1]], (92, 34, 34))
            canvas.fill(np.r_[x, x[::-1]] * 0.85 + 8.4, np.r_[middle, (middle + 0.6 * gap)[::-1]], (238, 234, 224))
        else:
            canvas.line(x, middle, 0.7, lip * 0.6)
        canvas.line(MOUTH_X + 7 * ACROSS, MOUTH_Y + 2.2 * full + 3 + ACROSS**2, 0.7, self.skin - 22)

    def draw_hair(self, canvas: _Canvas) -> None:
        """Hair over the forehead, with waves as strong as its curl."""
        look, centre = self.look, 56 - self.yaw
        angle = np.linspace(np.pi, 2 * np.pi, 40)
        wave = 1 + 0.02 * max(look.hair_curl + 1, 0) * np.sin(angle * 24)
        outer = self.width + 8 + 2.2 * look.hair_curl
        x, y = centre + outer * wave * np.cos(angle), 46 + (46 + 2.2 * look.hair_curl) * wave * np.sin(angle)
        across = np.linspace(1, -1, 24)
        temple = np.abs(across) ** 4
        edge = self.hairline + (50 - self.hairline) * temple + 1.2 * max(look.hair_curl, 0) * np.sin(across * 20)
        canvas.fill(np.r_[x, centre + (self.width - 1) * across], np.r_[y, edge], self.hair)
        top = 4 - 2.2 * look.hair_curl
        for offset in (-0.5, -0.1, 0.3, 0.6):  # strands
            strand = np.linspace(0, 1, 8)
            sway = 2.0 * (look.hair_curl + 1) * np.sin(strand * 9)
            canvas.line(
                centre + self.width * offset * (0.8 + 0.3 * strand) + sway,
                top + (self.hairline - 2 - top) * strand,
                0.8,
                self.hair * 0.82 if offset < 0 else self.hair * 1.14,
            )


def _spot(x: float, y: float, width: float, height: float) -> np.ndarray:
    """A soft spot of light, 1 at its centre: (SIZE, SIZE, 1)."""
    axis = np.arange(SIZE)
    spot = np.outer(np.exp(-(((axis - y) / height) ** 2)), np.exp(-(((axis - x) / width) ** 2)))
    return spot[..., None].astype(np.float32)


FOREHEAD = _spot(56, 38, 26, 12)
SOCKETS = _spot(EYES[0], 46, 12, 6) + _spot(EYES[1], 46, 12, 6)
SIDES = _spot(14, 80, 14, 26) + _spot(98, 80, 14, 26)
CHEEKS = _spot(32, 74, 11, 9) + _spot(80, 74, 11, 9)
RELIEF = 9 * FOREHEAD - 12 * SOCKETS - 10 * SIDES
RAMP = np.linspace(-1, 1, SIZE, dtype=np.float32)


def _photograph(drawn: Image.Image, look: Look, rng: np.random.Generator) -> Image.Image:
    """Add what is soft: relief, cheeks, light and its colour, blur, noise."""
    blur = rng.gamma(1.5, 0.2)
    small = drawn.reduce(OVERSAMPLING)
    if blur > 0.3:
        small = small.filter(ImageFilter.GaussianBlur(blur))
    brightness, down, across = rng.normal(0, (9, 9, 12)).astype(np.float32)
    light = brightness + np.add.outer(down * RAMP, across * RAMP)
    light += np.float32(rng.gamma(2.0, 1.5)) * rng.standard_normal(light.shape, dtype=np.float32)
    blush = (4 + 9 * look.rosy_cheeks) * np.array([0.7, -1.0, -0.8])
    pixels = np.asarray(small) + (RELIEF + light[..., None])
    pixels += CHEEKS * blush.astype(np.float32) + rng.normal(0, 4, 3).astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
