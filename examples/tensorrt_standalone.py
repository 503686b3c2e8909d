"""A TensorRT engine without m2a's runtime, for programs of your own. Needs an NVIDIA GPU; **not verified on hardware**.

    m2a build-engine engines/m2a-edge/m2a-edge.onnx --precision fp16 --size 320x576
    python examples/tensorrt_standalone.py engines/m2a-edge/m2a-edge.engine PLUGIN.so photo.jpg

PLUGIN.so is the library that ``m2a build-engine`` names when it starts. The same steps work in C++: load the library
into the plugin registry, deserialise, bind by name. Input ``image``: uint8 [1, H, W, 3], RGB, scaled to fit and padded
right and below. Outputs: ``m2a_core/contract/io_spec.py``.
"""

import sys

import numpy as np

from m2a_core.images import read_image
from m2a_core.preprocess import Letterbox

try:
    import tensorrt as trt
    from cuda.bindings import runtime as cuda
except ModuleNotFoundError as error:
    sys.exit(f"needs TensorRT and cuda-python on a machine with an NVIDIA GPU ({error}); see docs/tensorrt.md")


def checked(answer: tuple) -> object:
    """The value of a CUDA call, or an end with its error."""
    status, *values = answer
    if status != cuda.cudaError_t.cudaSuccess:
        sys.exit(f"CUDA: {status.name}")
    return values[0] if values else None


engine_file, plugin, picture = sys.argv[1:4]
trt.get_plugin_registry().load_library(plugin)
with open(engine_file, "rb") as file:
    engine = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(file.read())
context = engine.create_execution_context()
stream = checked(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))

_, height, width, _ = engine.get_tensor_shape("image")
image, geometry = Letterbox((height, width)).apply(read_image(picture))
context.set_input_shape("image", (1, height, width, 3))

host, device = {}, {}
for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
    host[name] = np.empty(context.get_tensor_shape(name), trt.nptype(engine.get_tensor_dtype(name)))
    device[name] = checked(cuda.cudaMalloc(host[name].nbytes))
    context.set_tensor_address(name, device[name])

up, down = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
host["image"][0] = image
checked(cuda.cudaMemcpyAsync(device["image"], host["image"].ctypes.data, host["image"].nbytes, up, stream))
if not context.execute_async_v3(int(stream)):
    sys.exit("TensorRT could not run the engine")
for name in host.keys() - {"image"}:
    checked(cuda.cudaMemcpyAsync(host[name].ctypes.data, device[name], host[name].nbytes, down, stream))
checked(cuda.cudaStreamSynchronize(stream))

background = geometry.undo_continuous(host["background"][0].astype(np.float32))
print(f"B (Eq. 17), {background.shape[1]}x{background.shape[0]}: {background.min():.2f} to {background.max():.2f}")
