"""The unit of areas: a pixel of an image of 1024 x 1024, the competition's size."""

SIDE_PX = 1024
AREA_PX = SIDE_PX**2
