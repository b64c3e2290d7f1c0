"""Snow, frost, fog and spatter in plain NumPy, SciPy, PIL and OpenCV, an image at a time.

`oracle(pixels, level, rng)` takes uint8 `[h, w, 3]` and gives values of 0..255, not yet truncated.
"""

import math
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage

from ruggedize.corruptions.frost_photographs import NUM_USED, SHA256, frost_folder

Level = tuple[float, ...]
Rng = np.random.RandomState


def snow(pixels: np.ndarray, level: Level, rng: Rng) -> np.ndarray:
    loc, scale, zoom, threshold, radius, sigma, mix = level
    values = pixels / 255
    layer = zoomed(rng.normal(loc, scale, pixels.shape[:2]), zoom)
    layer[layer < threshold] = 0
    layer = np.uint8(np.clip(layer, 0, 1) * 255)
    layer = moved(layer, int(radius), sigma, rng.uniform(-135, -45)) / 255
    grey = (values @ [0.299, 0.587, 0.114])[..., None]
    values = mix * values + (1 - mix) * np.maximum(values, grey * 1.5 + 0.5)
    return np.clip(values + (layer + np.rot90(layer, 2))[..., None], 0, 1) * 255


def zoomed(layer: np.ndarray, zoom: float) -> np.ndarray:
    kept = [math.ceil(size / zoom) for size in layer.shape]
    tops = [(size - part) // 2 for size, part in zip(layer.shape, kept, strict=True)]
    middle = layer[tops[0] : tops[0] + kept[0], tops[1] : tops[1] + kept[1]]
    large = ndimage.zoom(middle, zoom, order=1, mode="nearest")
    trims = [(new - old) // 2 for new, old in zip(large.shape, layer.shape, strict=True)]
    return large[trims[0] :, trims[1] :][: layer.shape[0], : layer.shape[1]]


def moved(layer: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    rows, columns = np.indices(layer.shape)
    total = np.full(layer.shape, 0.5 / 257)
    for step, weight in enumerate(weights / weights.sum()):
        down = math.ceil(step * math.sin(math.radians(angle)) - 0.5)
        right = math.ceil(step * math.cos(math.radians(angle)) - 0.5)
        y = np.clip(rows + down, 0, layer.shape[0] - 1)
        x = np.clip(columns + right, 0, layer.shape[1] - 1)
        total += weight * layer[y, x]
    return np.floor(total)


def frost(pixels: np.ndarray, level: Level, rng: Rng) -> np.ndarray:
    weight, frost_weight, scale = level
    picture = decoded(frost_folder())[rng.randint(NUM_USED)]
    enough = [
        (size + 1) / full for size, full in zip(pixels.shape, picture.shape[:2], strict=False)
    ]
    scale = max(scale, *enough)
    picture = cv2.resize(picture, (0, 0), fx=scale, fy=scale)
    top = rng.randint(0, picture.shape[0] - pixels.shape[0])
    left = rng.randint(0, picture.shape[1] - pixels.shape[1])
    part = picture[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    return np.clip(weight * pixels + frost_weight * part, 0, 255)


@cache
def decoded(folder: Path) -> list[np.ndarray]:
    names = list(SHA256)[:NUM_USED]
    return [np.array(Image.open(folder / name).convert("RGB")) for name in names]


def fog(pixels: np.ndarray, level: Level, rng: Rng) -> np.ndarray:
    weight, decay = level
    values = pixels / 255
    height, width = pixels.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()
    ratio = values.max() / (values.max() + weight)
    return (values + weight * plasma(side, decay, rng)[:height, :width, None]) * ratio * 255


def plasma(side: int, decay: float, rng: Rng) -> np.ndarray:
    cloud, step, wobble = np.zeros((side, side)), side, 100.0
    while step >= 2:
        half = step // 2
        corners, middles = cloud[::step, ::step], cloud[half::step, half::step]
        total = corners + np.roll(corners, -1, 0)
        total = total + np.roll(total, -1, 1)
        middles[:] = total / 4 + wobble * rng.uniform(-wobble, wobble, total.shape)
        total = middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1)
        cloud[::step, half::step] = total / 4 + wobble * rng.uniform(-wobble, wobble, total.shape)
        total = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0)
        cloud[half::step, ::step] = total / 4 + wobble * rng.uniform(-wobble, wobble, total.shape)
        step, wobble = half, wobble / decay
    return (cloud - cloud.min()) / (cloud.max() - cloud.min())


def spatter(pixels: np.ndarray, level: Level, rng: Rng) -> np.ndarray:
    loc, scale, sigma, threshold, strength, is_mud = level
    values = pixels / 255
    liquid = blurred(rng.normal(loc, scale, pixels.shape[:2]), sigma)
    liquid[liquid < threshold] = 0
    if is_mud:
        cover = blurred((liquid > threshold).astype(float), strength)
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return (values * (1 - cover) + cover * np.array([63, 42, 20]) / 255) * 255
    light = shaded((liquid * 255).astype(np.uint8))
    light = (light * strength / max(light.max(), 1))[..., None]
    return np.clip(values + light * np.array([175, 238, 238]) / 255, 0, 1) * 255


def shaded(liquid: np.ndarray) -> np.ndarray:
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    near = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    relief = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    shading = cv2.blur(cv2.filter2D(cv2.equalizeHist(near), cv2.CV_8U, relief), (3, 3))
    return liquid * shading.astype(float)


def blurred(plane: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(plane, sigma, mode="nearest")


ORACLES = {function.__name__: function for function in (snow, frost, fog, spatter)}
