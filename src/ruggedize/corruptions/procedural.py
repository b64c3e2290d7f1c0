"""Procedural frost textures: random ice ferns, which are identical on all machines."""

from functools import cache

import numpy as np
from scipy import ndimage

HEIGHT, WIDTH = 400, 600
NUM_BLADES = 1500
LONGEST = 70.0  # pixels from a blade's foot to its tip
SLOPE = np.tan(np.radians(60))  # slope of the side branches: ice crystals branch at 60 degrees
PERIOD = 5.0  # pixels from one side branch to the next
MIST = (4, 9, 20, 45, 100, 220)  # noise cells along the longer side, for each octave

# Means of red, green and blue, and standard deviation of brightness, measured on the photographs.
TONES = (
    ((77.7, 149.1, 165.7), 18.0),
    ((200.8, 205.4, 214.5), 22.0),
    ((200.8, 205.4, 214.5), 22.0),
    ((137.6, 152.8, 165.2), 28.9),
    ((112.4, 123.4, 134.8), 43.1),
)


@cache
def grown_pictures() -> tuple[np.ndarray, ...]:
    """Return one texture per photograph, with the same colour and contrast: uint8 `[3, h, w]`."""
    return tuple(grown_picture(seed, *tone) for seed, tone in enumerate(TONES))


def grown_picture(seed: int, colour: tuple[float, float, float], spread: float) -> np.ndarray:
    """Draw ice blades over mist in one colour: uint8 `[3, h, w]`."""
    rng = np.random.RandomState(seed)
    mist = np.zeros((HEIGHT, WIDTH))
    for octave, cells in enumerate(MIST):
        mist += noise(rng, cells) * 0.75**octave
    values = standardised(standardised(mist) + standardised(blades(rng)))
    pixels = np.array(colour)[:, None, None] + spread * values
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)


def blades(rng: np.random.RandomState) -> np.ndarray:
    """Draw overlapping, feathered blades at random positions and angles: float `[h, w]`."""
    plane = np.zeros((HEIGHT, WIDTH))
    for _ in range(NUM_BLADES):
        foot_y, foot_x = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
        length, angle = LONGEST * rng.uniform(0.2, 1.0), rng.uniform(0, 2 * np.pi)
        down, right = length * np.sin(angle), length * np.cos(angle)
        slenderness, brightness = rng.uniform(0.08, 0.25), rng.normal()
        rows = reach_of(foot_y, down, length / 4, HEIGHT)
        columns = reach_of(foot_x, right, length / 4, WIDTH)
        y, x = np.ogrid[rows, columns]
        along = ((y - foot_y) * down + (x - foot_x) * right) / length
        aside = np.abs((y - foot_y) * right - (x - foot_x) * down) / length
        branches = 0.7 * np.cos(2 * np.pi * (along - aside / SLOPE) / PERIOD)
        blade = brightness + branches + 2.0 * np.exp(-aside)
        is_inside = (along >= 0) & (aside <= slenderness * (length - along))
        window = plane[rows, columns]
        window[is_inside] = blade[is_inside]
    return plane


def reach_of(foot: float, to_tip: float, room: float, size: int) -> slice:
    """Return the range of rows (or columns) that a blade may cover."""
    first, last = sorted((foot, foot + to_tip))
    return slice(max(0, int(first - room)), min(size, int(last + room) + 1))


def noise(rng: np.random.RandomState, cells: int) -> np.ndarray:
    """Return smooth noise, roughly in -1..1, with `cells` grains along the longer side."""
    rows = cells * HEIGHT // WIDTH + 2
    grid = rng.uniform(-1, 1, (rows, cells + 2))
    zoom = (HEIGHT / rows, WIDTH / (cells + 2))
    return np.asarray(ndimage.zoom(grid, zoom, order=3, mode="mirror", grid_mode=True))


def standardised(values: np.ndarray) -> np.ndarray:
    """Return the values scaled to mean 0 and standard deviation 1."""
    return (values - values.mean()) / values.std()
