"""A fake NVIDIA driver: a libnvidia-ml.so.1 that answers as a variable says."""

import ctypes
import importlib.metadata
import os
import pathlib
import shutil
import subprocess

import pytest

_C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value ? value : otherwise;
}

/* Field `number` of GPU `index` in "name:major:minor:total_mib:free_mib:error,...". */
static const char *field(unsigned index, int number) {
  static char text[256];
  const char *p = setting("FAKE_GPUS", "");
  while (index--) { p = strchr(p, ','); if (!p) return ""; p++; }
  while (number--) { p = strchr(p, ':'); if (!p) return ""; p++; }
  snprintf(text, sizeof text, "%.*s", (int)strcspn(p, ":,"), p);
  return text;
}

static unsigned handle(void *device) { return (unsigned)(size_t)device - 1; }

int nvmlInitWithFlags(unsigned f) { return atoi(setting("FAKE_ERROR", "0")); }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlInit(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return "an error that no table has"; }

int nvmlSystemGetDriverVersion(char *to, unsigned size) {
  snprintf(to, size, "%s", setting("FAKE_VERSION", "550.54.15"));
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
  const char *p = setting("FAKE_GPUS", "");
  *count = *p != 0;
  while ((p = strchr(p, ','))) { ++*count; ++p; }
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = (void *)(size_t)(index + 1);
  return atoi(field(index, 5));
}
int nvmlDeviceGetName(void *device, char *to, unsigned size) {
  snprintf(to, size, "%s", field(handle(device), 0));
  return 0;
}
int nvmlDeviceGetUUID(void *device, char *to, unsigned size) {
  snprintf(to, size, "GPU-%u000-made-up", handle(device));
  return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
  *major = atoi(field(handle(device), 1));
  *minor = atoi(field(handle(device), 2));
  return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
  memory[0] = atoll(field(handle(device), 3)) << 20;
  memory[1] = atoll(field(handle(device), 4)) << 20;
  memory[2] = memory[0] - memory[1];
  return memory[0] ? 0 : 3;
}
"""

# CUDA's driver, as far as TensorFlow asks it before it opens its own libraries.
_CUDA_C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) {
  const char *error = getenv("FAKE_CU_INIT");
  return error ? atoi(error) : 0;
}
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *to, int size, int d) { snprintf(to, size, "x"); return 0; }
/* 75 and 76 are the compute capability's major and minor version. */
int cuDeviceGetAttribute(int *v, int a, int d) {
  *v = a == 75 ? 9 : a == 76 ? 0 : 1;
  return 0;
}
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)1; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
int cuDevicePrimaryCtxGetState(int d, unsigned *f, int *a) { *f = *a = 0; return 0; }
int cuDevicePrimaryCtxSetFlags_v2(int d, unsigned f) { return 0; }
int cuCtxGetCurrent(void **c) { *c = (void *)1; return 0; }
int cuCtxSetCurrent(void *c) { return 0; }
int cuCtxGetDevice(int *d) { *d = 0; return 0; }
int cuDeviceTotalMem_v2(size_t *b, int d) { *b = 80ull << 30; return 0; }
int cuMemGetInfo_v2(size_t *f, size_t *t) { *f = *t = 80ull << 30; return 0; }
int cuDeviceGetPCIBusId(char *to, int size, int d) {
  snprintf(to, size, "0000:01:00.0");
  return 0;
}
int cuDeviceGetUuid_v2(char *to, int d) { memset(to, 1, 16); return 0; }
int cuGetErrorName(int e, const char **s) { *s = "MADE_UP_ERROR"; return 0; }
int cuGetErrorString(int e, const char **s) { *s = "made up"; return 0; }
"""

# What TensorFlow opens first of CUDA, and the distribution that brings it.
_CUDA_LIBRARY, _CUDA_DISTRIBUTION = "libcudart.so.12", "nvidia-cuda-runtime-cu12"
H100 = "NVIDIA H100 80GB HBM3:9:0:81559:81000:0"


def build(folder: pathlib.Path) -> pathlib.Path:
    """Compiles the library into `folder`, or skips where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler, which builds the made-up driver")
    for name, code in (("libnvidia-ml.so.1", _C), ("libcuda.so.1", _CUDA_C)):
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", folder / name],
            input=code,
            text=True,
            check=True,
        )
    return folder


def needs_no_cuda() -> None:
    """Skips a test in which TensorFlow does not find CUDA where CUDA is installed."""
    try:
        ctypes.CDLL(_CUDA_LIBRARY)
    except OSError:
        try:
            importlib.metadata.version(_CUDA_DISTRIBUTION)
        except importlib.metadata.PackageNotFoundError:
            return
    pytest.skip("CUDA's libraries are installed, and this test needs them to be absent")


def environment(folder: pathlib.Path, *, gpus: str = "", **settings: str) -> dict:
    """Returns an environment in which the loader finds the driver in `folder`.

    Args:
      folder: of the libraries.
      gpus: name:major:minor:memory_mib:free_mib:error of each, comma between.
      **settings: other variables, such as FAKE_ERROR and FAKE_VERSION.
    """
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    return kept | {"LD_LIBRARY_PATH": str(folder), "FAKE_GPUS": gpus} | settings
