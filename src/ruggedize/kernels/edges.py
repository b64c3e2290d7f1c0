"""Edge detection and distance transform of a plane, with the same results as OpenCV."""

import numpy as np

from ruggedize.kernels.kernel import kernel

STRONG = 255
WEAK = 1
TANGENT_BITS = 15
TANGENT = 13573  # of 22.5 degrees, with TANGENT_BITS fractional bits
STRAIGHT = np.float32(1)  # lengths of the three kinds of steps
DIAGONAL = np.float32(1.4)
LONG = np.float32(2.1969)
FAR = np.float32(1e9)
MARGIN = 2  # reach of a step in pixels


@kernel
def find_edges(plane, low, high, gradients, sizes, stack, edges):
    """Mark the edges of a plane: 255 on edges, 0 elsewhere.

    Source: Canny 1986, "A Computational Approach to Edge Detection", as in OpenCV's `Canny`: Sobel
    gradients with replicated borders and magnitude |x| + |y|, which is 0 outside the image.
    Work memory: `gradients` int32 `[2, h, w]`, `sizes` int32 `[h + 2, w + 2]`, `stack` int32
    `[h * w]`.
    """
    height, width = plane.shape
    find_gradients(plane, gradients, sizes)
    num_open = 0
    for y in range(height):
        for x in range(width):
            edges[y, x] = 0
            size = sizes[y + 1, x + 1]
            if size > low and is_ridge(sizes, y + 1, x + 1, gradients[0, y, x], gradients[1, y, x]):
                edges[y, x] = STRONG if size > high else WEAK
                if size > high:
                    stack[num_open] = y * width + x
                    num_open += 1
    follow(stack, num_open, edges)


@kernel
def find_gradients(plane, gradients, sizes):
    """Compute horizontal and vertical gradients and their magnitudes with a border of zeros."""
    height, width = plane.shape
    sizes[:] = 0
    for y in range(height):
        above, here, below = plane[max(y - 1, 0)], plane[y], plane[min(y + 1, height - 1)]
        for x in range(width):
            left, right = max(x - 1, 0), min(x + 1, width - 1)
            across = np.int32(above[right]) + 2 * here[right] + below[right]
            across -= np.int32(above[left]) + 2 * here[left] + below[left]
            down = np.int32(below[left]) + 2 * below[x] + below[right]
            down -= np.int32(above[left]) + 2 * above[x] + above[right]
            gradients[0, y, x], gradients[1, y, x] = across, down
            sizes[y + 1, x + 1] = abs(across) + abs(down)


@kernel
def is_ridge(sizes, y, x, across, down):
    """Return whether the magnitude is a local maximum along the gradient, in four directions."""
    size = sizes[y, x]
    rise = abs(np.int64(down)) << TANGENT_BITS
    flat = abs(np.int64(across)) * TANGENT
    if rise < flat:
        return size > sizes[y, x - 1] and size >= sizes[y, x + 1]
    if rise > flat + (abs(np.int64(across)) << (TANGENT_BITS + 1)):
        return size > sizes[y - 1, x] and size >= sizes[y + 1, x]
    side = -1 if (across < 0) != (down < 0) else 1
    return size > sizes[y - 1, x - side] and size > sizes[y + 1, x + side]


@kernel
def follow(stack, num_open, edges):
    """Keep weak edges that are connected to strong ones; clear the others."""
    height, width = edges.shape
    while num_open > 0:
        num_open -= 1
        y, x = stack[num_open] // width, stack[num_open] % width
        for near_y in range(max(y - 1, 0), min(y + 2, height)):
            for near_x in range(max(x - 1, 0), min(x + 2, width)):
                if edges[near_y, near_x] == WEAK:
                    edges[near_y, near_x] = STRONG
                    stack[num_open] = near_y * width + near_x
                    num_open += 1
    for y in range(height):
        for x in range(width):
            edges[y, x] = STRONG if edges[y, x] == STRONG else 0


@kernel
def measure_distances(edges, distances):
    """Compute the distance of every pixel from the nearest edge, in pixels.

    `distances` is float32 `[h + 4, w + 4]`: the plane with a margin of two pixels.
    Source: Borgefors 1986, "Distance Transformations in Digital Images", with the steps of
    OpenCV's `distanceTransform(DIST_L2, 5)`.
    """
    height, width = edges.shape
    distances[:] = FAR
    for y in range(height):
        row = distances[y + MARGIN]
        for x in range(width):
            row[x + MARGIN] = np.float32(0) if edges[y, x] != 0 else FAR
        relax_from_rows(row, distances[y + 1], distances[y])
        last = FAR
        for x in range(MARGIN, width + MARGIN):
            last = row[x] = smaller(row[x], last + STRAIGHT)
    for y in range(height - 1, -1, -1):
        row = distances[y + MARGIN]
        relax_from_rows(row, distances[y + MARGIN + 1], distances[y + MARGIN + 2])
        last = FAR
        for x in range(width + MARGIN - 1, MARGIN - 1, -1):
            last = row[x] = smaller(row[x], last + STRAIGHT)


@kernel
def relax_from_rows(row, near, far):
    """Lower the distances in a row where a path through the two rows beside it is shorter."""
    for x in range(len(row) - 2 * MARGIN):  # counted from 0, so that the loop is vectorised
        diagonal = smaller(near[x + 1], near[x + 3]) + DIAGONAL
        long = smaller(smaller(near[x], near[x + 4]), smaller(far[x + 1], far[x + 3])) + LONG
        other = smaller(smaller(near[x + 2] + STRAIGHT, diagonal), long)
        row[x + 2] = smaller(row[x + 2], other)


@kernel
def smaller(one, other):
    """Return the smaller of two numbers; faster than `min`, which also handles NaN."""
    return one if one < other else other
