"""The unit of areas: a pixel of an image of 1024 x 1024, the competition's size."""

SIDE_PX = 1024
AREA_PX = SIDE_PX**2


def at_least(num_pixels, area, height, width):
    """Returns whether pixels of an image of [height, width] have an area at 1024.

    All arguments are numbers, or arrays that broadcast.
    """
    return num_pixels * AREA_PX >= area * (height * width)
