"""The benchmark's U-Net of unet_torch.py, exported to ONNX and evaluated by ONNX Runtime or OpenVINO on the CPU, in f32.

usage: unet_onnx.py [--runtime onnxruntime|openvino] [--threads 2] [--size 28] [--batch 64] [--steps 10]
Prints milliseconds for one evaluation and the peak memory (the export's included). There is no training.
"""
import argparse, pathlib, resource, tempfile, time
import numpy as np
import torch
from unet_torch import UNet


def export(net, u, t, path):
    torch.onnx.export(net, (u, t), path, input_names=["u", "t"], output_names=["eps"], dynamo=True, verbose=False)


def onnxruntime(path, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda u, t: session.run(None, {"u": u, "t": t})[0], "onnxruntime " + ort.__version__


def openvino(path, threads):
    import openvino as ov

    # without the hint it calculates in bfloat16 where the processor has it
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = ov.Core().compile_model(path, "CPU", config)
    return lambda u, t: model([u, t])[0], "openvino " + ov.__version__.split("-")[0]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--runtime", choices=["onnxruntime", "openvino"], default="onnxruntime")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--size", type=int, default=28)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--steps", type=int, default=10)
    a = p.parse_args()
    torch.manual_seed(0)
    net = UNet().eval()
    # the last convolution starts at zero, and then a wrong export would go unseen
    torch.nn.init.normal_(net.out.weight, std=0.1)
    u, t = torch.randn(a.batch, 2, a.size, a.size), torch.rand(a.batch) * 0.999 + 1e-3
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "unet.onnx")
        export(net, u, t, path)
        run, version = {"onnxruntime": onnxruntime, "openvino": openvino}[a.runtime](path, a.threads)
        un, tn = u.numpy(), t.numpy()
        with torch.no_grad():
            want = net(u, t).numpy()
        got = run(un, tn)
        error = float(np.abs(got - want).max() / np.abs(want).max())
        if not error <= 1e-3:
            raise SystemExit(f"another net: relative error {error:g} against PyTorch")
        run(un, tn)
        times = []
        for _ in range(a.steps):
            start = time.perf_counter()
            run(un, tn)
            times.append(time.perf_counter() - start)
    times.sort()
    print(f"eval step: median {1e3 * times[len(times) // 2]:.1f} ms, best {1e3 * times[0]:.1f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"size {a.size}, batch {a.batch}, threads {a.threads}, relative error {error:.1g}, peak {peak:.0f} MiB, {version}")


if __name__ == "__main__":
    main()
