"""The sides of the engine benchmark, each in a separate process.

    python -m tests.benchmarks.sides.engine_sides SIDE FOLDER MODEL SIZE CORES

engine_files.py wrote the folder. One repeat of the work takes all its images from uint8
to probabilities; each engine is set up as its own guide recommends for throughput.
"""

import pathlib
import sys

import numpy as np

from tests.benchmarks.harness import arithmetic
from tests.benchmarks.harness import worker

# The files that engine_files.py writes. Importing it would load TensorFlow in a peer.
IMAGES, WEIGHTS, ONNX = "images.npy", "network.weights.h5", "network.onnx"

OURS, ORT, OV_F32, OV_BF16 = "ours", "onnxruntime", "openvino f32", "openvino bf16"
SMP = "torch, another network"
PRODUCT = "matrix product"
# side -> the distributions it needs
NEEDS = {
    OURS: (),
    ORT: ("onnxruntime", "tf2onnx", "onnx"),
    OV_F32: ("openvino", "tf2onnx", "onnx"),
    OV_BF16: ("openvino", "tf2onnx", "onnx"),
    SMP: ("torch", "segmentation-models-pytorch"),
    PRODUCT: (),
}


def ours(folder: pathlib.Path, model: str, size: int, cores: int):
    """The graph function of `inference.main`, with weights as in a run folder."""
    import types

    import tensorflow as tf

    from inference.ensemble import mean_probability
    from inference.ensemble import networks
    from inference.ensemble import tta

    del cores  # TensorFlow uses all cores of the process.
    network = networks.Network(model, size, "float32")
    network.model.load_weights(folder / WEIGHTS)
    weights = network.weights()
    member = types.SimpleNamespace(
        logits=lambda images: network.graph(images, *weights)[networks.MASK],
        dataset=types.SimpleNamespace(
            folder=folder, manifest=types.SimpleNamespace(image_size=size)
        ),
    )
    predict = mean_probability.segmenters([member], tta.views(()))
    images = {mean_probability.key(member): tf.constant(_images(folder))}
    return lambda: predict(images).numpy().astype(np.float32)


def onnxruntime(folder: pathlib.Path, model: str, size: int, cores: int):
    """ONNX Runtime's CPU provider, the whole batch in one call."""
    import onnxruntime as ort

    del model, size
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores
    session = ort.InferenceSession(
        str(folder / ONNX), options, providers=["CPUExecutionProvider"]
    )
    images, name = _images(folder), session.get_inputs()[0].name
    return lambda: session.run(None, {name: images.astype(np.float32)})[0]


def openvino(precision: str):
    """OpenVINO with one stream per core and one image per request."""

    def make(folder: pathlib.Path, model: str, size: int, cores: int):
        # Importing OpenVINO sends telemetry unless this package is absent.
        sys.modules.setdefault("openvino_telemetry", None)
        import openvino as ov

        del model
        core = ov.Core()
        network = core.read_model(folder / ONNX)
        network.reshape([1, size, size, 1])
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": cores,
        }
        queue = ov.AsyncInferQueue(core.compile_model(network, "CPU", options))
        images = _images(folder)
        results = np.empty(images.shape, np.float32)

        def keep(request, k):
            results[k] = request.get_output_tensor().data[0]

        queue.set_callback(keep)

        def work():
            for k in range(len(images)):
                queue.start_async({0: images[k : k + 1].astype(np.float32)}, k)
            queue.wait_all()
            return results

        return work

    return make


def torch_smp(folder: pathlib.Path, model: str, size: int, cores: int):
    """The U-Net++ of segmentation-models-pytorch on the same encoder."""
    import torch

    from tests.benchmarks.sides import smp_networks

    del size
    torch.set_num_threads(cores)
    torch.set_flush_denormal(True)  # TensorFlow does, too.
    network = smp_networks.build("UnetPlusPlus", smp_encoder(model)).eval()
    images = torch.from_numpy(_images(folder)).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def work():
        channels_last = images.float().contiguous(memory_format=torch.channels_last)
        return torch.sigmoid(network(channels_last)).numpy()

    return work


def product(folder: pathlib.Path, model: str, size: int, cores: int):
    """The limit: a large float32 matrix product in TensorFlow."""
    from tests.benchmarks.cases import limits

    del folder, model, size, cores
    multiply = limits.tensorflow()[limits.F32]
    return lambda: multiply().numpy()


def smp_encoder(model: str) -> str:
    """Returns "efficientnet-b4" for a spec like `uefficientnetpp(encoder=b4)`."""
    return f"efficientnet-{model.partition('encoder=')[2][:2]}"


SIDES = {
    OURS: ours,
    ORT: onnxruntime,
    OV_F32: openvino("f32"),
    OV_BF16: openvino("bf16"),
    SMP: torch_smp,
    PRODUCT: product,
}


def _images(folder: pathlib.Path) -> np.ndarray:
    return np.load(folder / IMAGES)


def _smp_gflop(model: str, size: int) -> float:
    import torch

    from tests.benchmarks.sides import smp_networks

    network = smp_networks.build("UnetPlusPlus", smp_encoder(model)).eval().to("meta")
    return arithmetic.of_torch(network, torch.empty(1, 1, size, size, device="meta"))


def main() -> None:
    side, folder, model, size, cores = sys.argv[1:]

    def make():
        work = SIDES[side](pathlib.Path(folder), model, int(size), int(cores))
        return work, lambda: {"mask": work()}

    facts = {"gflop": _smp_gflop(model, int(size))} if side == SMP else {}
    worker.serve(make, facts)


if __name__ == "__main__":
    main()
