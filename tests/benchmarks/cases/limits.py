"""The machine's own limits, measured beside what is held against them.

    python -m tests.benchmarks.cases.limits [--cores=2]

Copying memory, decoding grey JPEG, sampling by OpenCV's fixed-point `remap`, and
matrix products in float32 and bfloat16: the fastest of several short runs, since a
limit is what nothing disturbed.
"""

import argparse
import dataclasses
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from tests.benchmarks.harness import timing

F32, BF16 = "float32", "bfloat16"
_MIN_S = 0.05
_REPEATS = 7
_COPIED = 128 << 20
_SIDE = 1024
_GEMM_SIDE = 2048
PRODUCT_GFLOP = 2 * _GEMM_SIDE**3 / 1e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The machine's limits, on `cores` cores unless stated otherwise.

    Attributes:
      cores: threads that copy and that multiply matrices.
      memcpy_gb_s: copied bytes, each counted once, in 1e9 per second.
      jpeg_mpx_s: grey pixels decoded on one core, quality 95, in 1e6 per second.
      jpeg_by: the decoder used.
      remap_mpx_s: pixels sampled bilinearly on one core, in 1e6 per second.
      gemm_gflop_s: {dtype: 1e9 operations per second of matrix products}.
      gemm_by: {dtype: the library used}.
    """

    cores: int
    memcpy_gb_s: float
    jpeg_mpx_s: float
    jpeg_by: str
    remap_mpx_s: float
    gemm_gflop_s: dict[str, float]
    gemm_by: dict[str, str]


def measure(cores: int) -> Limits:
    """Measures all limits, which takes half a minute."""
    jpeg_mpx_s, jpeg_by = _jpeg()
    gemm, gemm_by = _gemm(cores)
    return Limits(
        cores=cores,
        memcpy_gb_s=_memcpy(cores),
        jpeg_mpx_s=jpeg_mpx_s,
        jpeg_by=jpeg_by,
        remap_mpx_s=_remap(),
        gemm_gflop_s=gemm,
        gemm_by=gemm_by,
    )


def rows(limits: Limits) -> list[tuple[str, str]]:
    """Returns the limits as table rows."""
    plural = f"{limits.cores} cores"
    return [
        (f"memory copy, {plural}", f"{limits.memcpy_gb_s:.1f} GB/s"),
        (
            f"grey JPEG, one core, {limits.jpeg_by}",
            f"{limits.jpeg_mpx_s:.0f} Mpx/s",
        ),
        ("cv2.remap, bilinear, one core", f"{limits.remap_mpx_s:.0f} Mpx/s"),
        *(
            (
                f"matrix product, {dtype}, {plural}, {limits.gemm_by[dtype]}",
                f"{found:.0f} GFLOP/s",
            )
            for dtype, found in limits.gemm_gflop_s.items()
        ),
    ]


def fastest_s(function: Callable[[], object]) -> float:
    """Returns the seconds per call in the fastest of several short runs."""
    function()
    calls = 1
    while (took := _run_s(function, calls)) < _MIN_S:
        calls = max(2 * calls, int(calls * _MIN_S / max(took, 1e-9)))
    return min(_run_s(function, calls) for _ in range(_REPEATS)) / calls


def _run_s(function: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - started


def _memcpy(cores: int) -> float:
    pairs = [np.ones((2, _COPIED), np.uint8) for _ in range(cores)]

    def copy():
        threads = [threading.Thread(target=np.copyto, args=(a, b)) for a, b in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return cores * _COPIED / fastest_s(copy) / 1e9


def _image() -> np.ndarray:
    """Returns a smooth image with noise like a film's, [_SIDE, _SIDE] uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (16, 16)).astype(np.float32)
    image = cv2.resize(coarse, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def _jpeg() -> tuple[float, str]:
    _, encoded = cv2.imencode(".jpg", _image(), [cv2.IMWRITE_JPEG_QUALITY, 95])
    found = {"opencv": lambda: cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)}
    try:
        import simplejpeg
    except ImportError:
        pass
    else:
        data = encoded.tobytes()
        found["simplejpeg"] = lambda: simplejpeg.decode_jpeg(data, colorspace="GRAY")
    seconds = {name: fastest_s(decode) for name, decode in found.items()}
    by = min(seconds, key=seconds.get)
    return _SIDE**2 / seconds[by] / 1e6, by


def _remap() -> float:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    where = cv2.convertMaps(x * 0.99 + 3.3, y * 1.01 - 2.2, cv2.CV_16SC2)
    image, into = _image(), np.empty((_SIDE, _SIDE), np.uint8)
    seconds = fastest_s(lambda: cv2.remap(image, *where, cv2.INTER_LINEAR, dst=into))
    cv2.setNumThreads(threads)
    return _SIDE**2 / seconds / 1e6


def _gemm(cores: int) -> tuple[dict[str, float], dict[str, str]]:
    """Returns {dtype: GFLOP/s of the fastest library} and {dtype: its name}.

    Several libraries are tried, because none is the fastest on every processor: on a
    Zen 5, PyTorch's MKL reached a quarter of the speed of TensorFlow's oneDNN, and
    engines exceeded that "limit".
    """
    found = {F32: {"numpy": _numpy_product_s()}, BF16: {}}
    for name, products in (
        ("tensorflow", tensorflow),
        ("torch", lambda: _torch(cores)),
    ):
        try:
            for dtype, product in products().items():
                found[dtype][name] = fastest_s(product)
        except ImportError:
            timing.say(f"{name} is not there: left out of the matrix products")
    by = {dtype: min(s, key=s.get) for dtype, s in found.items() if s}
    return {dtype: PRODUCT_GFLOP / found[dtype][name] for dtype, name in by.items()}, by


def _numpy_product_s() -> float:
    a, into = np.random.default_rng(0).random((2, _GEMM_SIDE, _GEMM_SIDE), np.float32)
    return fastest_s(lambda: np.matmul(a, a, out=into))


def _torch(cores: int) -> dict[str, Callable[[], object]]:
    import torch

    torch.set_num_threads(cores)
    products = {}
    for name, dtype in ((F32, torch.float32), (BF16, torch.bfloat16)):
        a = torch.rand(_GEMM_SIDE, _GEMM_SIDE).to(dtype)
        into = torch.empty_like(a)
        products[name] = lambda a=a, into=into: torch.mm(a, a, out=into)
    return products


def tensorflow() -> dict[str, Callable[[], object]]:
    """Returns {dtype: function that computes one product of PRODUCT_GFLOP}."""
    import tensorflow as tf

    products = {}
    for name, dtype in ((F32, tf.float32), (BF16, tf.bfloat16)):
        with tf.device("CPU"):
            a = tf.cast(tf.random.uniform([_GEMM_SIDE, _GEMM_SIDE]), dtype)
        products[name] = lambda a=a: tf.matmul(a, a)
    return products


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    timing.pin(args.cores)
    found = measure(args.cores)
    print(timing.markdown(("limit", ""), rows(found)))
    print("\n" + timing.as_json({"limits": found}))


if __name__ == "__main__":
    main()
