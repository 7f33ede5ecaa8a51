"""What our CUDA kernels compile to, and how many launches a command makes, without a GPU.

    cargo build --release --features cuda
    python3 tools/kernel_sources.py /tmp/kernels target/release/shortrun bench --backend cuda --repeat 1

runs the command on a driver that does nothing: every call succeeds, no kernel runs, so its numbers mean
nothing. The CUDA source of every kernel it would have compiled goes to the folder, one file each, and the
number of launches to stdout. Needs a C compiler. With NVIDIA's wheels (nvidia-cuda-nvrtc,
nvidia-cuda-runtime, nvidia-cuda-crt and nvidia-cuda-cccl of one CUDA 13; nvdisasm and cuobjdump lie in the triton wheel),
--site FOLDER_OF_PACKAGES compiles each as on a Hopper GPU and adds machine code, registers and stack.
"""
import argparse
import ctypes
import os
import pathlib
import re
import subprocess
import tempfile

# Memory is the host's; devices look like an H200 to whoever asks.
DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef int R;
typedef unsigned long long P;
static unsigned long launches;
__attribute__((destructor)) static void say(void) { fprintf(stderr, "launches: %lu\n", launches); }
static R take(void **p, size_t n) { return posix_memalign(p, 512, n ? n : 512) ? 2 : 0; }
R cuInit(unsigned f) { return 0; }
R cuDriverGetVersion(int *v) { *v = 13000; return 0; }
R cuDeviceGetCount(int *c) { *c = 1; return 0; }
R cuDeviceGet(int *d, int o) { *d = 0; return 0; }
R cuDeviceGetName(char *n, int l, int d) { strncpy(n, "none", l); return 0; }
R cuDeviceTotalMem_v2(size_t *b, int d) { *b = 8ull << 30; return 0; }
R cuDeviceGetAttribute(int *v, int a, int d) {
    switch (a) {
    case 1: case 2: case 3: *v = 1024; break;
    case 4: *v = 64; break;
    case 5: *v = 2147483647; break;
    case 6: case 7: *v = 65535; break;
    case 10: *v = 32; break;
    case 16: *v = 132; break;
    case 75: *v = 9; break;
    case 76: *v = 0; break;
    case 97: *v = 232448; break;
    default: *v = 1;
    }
    return 0;
}
R cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)16; return 0; }
R cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
R cuCtxSetCurrent(void *c) { return 0; }
R cuCtxGetCurrent(void **c) { *c = (void *)16; return 0; }
R cuStreamCreate(void **s, unsigned f) { *s = (void *)32; return 0; }
R cuStreamDestroy_v2(void *s) { return 0; }
R cuStreamSynchronize(void *s) { return 0; }
R cuStreamWaitEvent(void *s, void *e, unsigned f) { return 0; }
R cuEventCreate(void **e, unsigned f) { *e = (void *)48; return 0; }
R cuEventDestroy_v2(void *e) { return 0; }
R cuEventRecord(void *e, void *s) { return 0; }
R cuEventSynchronize(void *e) { return 0; }
R cuEventQuery(void *e) { return 0; }
R cuMemAllocAsync(P *p, size_t n, void *s) { return take((void **)p, n); }
R cuMemAlloc_v2(P *p, size_t n) { return take((void **)p, n); }
R cuMemFreeAsync(P p, void *s) { free((void *)p); return 0; }
R cuMemFree_v2(P p) { free((void *)p); return 0; }
R cuMemAllocHost_v2(void **p, size_t n) { return take(p, n); }
R cuMemFreeHost(void *p) { free(p); return 0; }
R cuMemcpyHtoDAsync_v2(P d, const void *s, size_t n, void *t) { memcpy((void *)d, s, n); return 0; }
R cuMemcpyDtoHAsync_v2(void *d, P s, size_t n, void *t) { memcpy(d, (void *)s, n); return 0; }
R cuMemcpy2DAsync_v2(void *c, void *s) { return 0; }
R cuModuleLoadData(void **m, const void *i) { *m = (void *)64; return 0; }
R cuModuleUnload(void *m) { return 0; }
R cuModuleGetFunction(void **f, void *m, const char *n) { *f = (void *)80; return 0; }
R cuFuncSetAttribute(void *f, int a, int v) { return 0; }
R cuLaunchKernel(void *f, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned g,
                 unsigned s, void *t, void **k, void **x) { launches++; return 0; }
R cuTensorMapEncodeTiled(void *m, ...) { return 0; }
R cuTensorMapEncodeIm2col(void *m, ...) { return 0; }
R cuGetErrorName(int e, const char **s) { *s = "none"; return 0; }
R cuGetErrorString(int e, const char **s) { *s = "none"; return 0; }
"""
COMPILER = r"""
#include <string.h>
typedef int R;
R nvrtcVersion(int *a, int *b) { *a = 13; *b = 0; return 0; }
R nvrtcCreateProgram(void **p, const char *s, const char *n, int k, void *h, void *i) { *p = (void *)16; return 0; }
R nvrtcDestroyProgram(void **p) { return 0; }
R nvrtcCompileProgram(void *p, int n, const char *const *o) { return 0; }
R nvrtcGetPTXSize(void *p, unsigned long *n) { *n = 8; return 0; }
R nvrtcGetPTX(void *p, char *b) { memcpy(b, "nothing", 8); return 0; }
R nvrtcGetProgramLogSize(void *p, unsigned long *n) { *n = 1; return 0; }
R nvrtcGetProgramLog(void *p, char *b) { *b = 0; return 0; }
"""


def run(command, folder):
    """Runs the command; what CubeCL logged, and what the driver said."""
    with tempfile.TemporaryDirectory() as work:
        for name, code in [("libcuda.so", DRIVER), ("libnvrtc.so", COMPILER)]:
            subprocess.run(["cc", "-w", "-shared", "-fPIC", "-x", "c", "-", "-o", f"{work}/{name}"],
                           input=code, text=True, check=True)
        log = pathlib.Path(work) / "log"
        # HOME: no kernel may come from a cache, nor go into one.
        environment = os.environ | {"LD_LIBRARY_PATH": work, "HOME": work, "CUDA_PATH": work,
                                    "CUBECL_DEBUG_LOG": str(log)}
        done = subprocess.run(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        print(done.stderr, end="")
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
        return log.read_text(errors="replace")


def sources(log):
    """Names and CUDA sources."""
    for part in log.split("[START_KERNEL_COMPILATION]")[1:]:
        name = re.search(r"name: ([\w:]+)", part)[1].split("::")[-1]
        source = re.search(r"```cpp\n(.*?)```", part, re.S)
        if source:
            yield name, source[1]


def compile_as_on_hopper(source, to, site):
    """Machine code beside the source; registers, stack and shared memory."""
    packages = site / "nvidia/cu13"
    ctypes.CDLL(next((packages / "lib").glob("libnvrtc-builtins.so.*")), mode=ctypes.RTLD_GLOBAL)
    nvrtc = ctypes.CDLL(next((packages / "lib").glob("libnvrtc.so.*")))
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    include = packages / "include"
    options = ["--gpu-architecture=sm_90a", f"--include-path={include}", f"--include-path={include}/cccl"]
    options = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"k.cu", 0, None, None)
    if nvrtc.nvrtcCompileProgram(program, len(options), options):
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        said = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, said)
        return said.value.decode()[:1000]
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, code)
    binary = to.with_suffix(".cubin")
    binary.write_bytes(code.raw)
    tools = site / "triton/backends/nvidia/bin"
    listing = subprocess.run([tools / "nvdisasm", "-c", "-novliw", binary], capture_output=True, text=True)
    to.with_suffix(".sass").write_text(listing.stdout)
    usage = subprocess.run([tools / "cuobjdump", "--dump-resource-usage", binary],
                           capture_output=True, text=True)
    return usage.stdout.strip().splitlines()[-1].strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=pathlib.Path, help="folder of NVIDIA's and Triton's packages")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if not args.command:
        parser.error("which command?")
    args.folder.mkdir(parents=True, exist_ok=True)
    args.command[0] = str(pathlib.Path(args.command[0]).resolve())
    for number, (name, source) in enumerate(sources(run(args.command, args.folder))):
        to = args.folder / f"{number:02}-{name}.cu"
        to.write_text(source)
        print(to, compile_as_on_hopper(source, to, args.site) if args.site else "")


if __name__ == "__main__":
    main()
