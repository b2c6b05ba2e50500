"""What serving adds to a bare run: one caller, an identity model, a tensor of 600 KB.

    python -m bench.overhead [--rounds 5] [--calls 300]

A way's overhead is its median call less the median bare run of the same ONNX file here. Every call
goes over one kept-alive connection with a request made beforehand, and what comes back is read to
its end and its last value looked at; so all clients cost about the same. Heliograph serves the
model as `heliograph import` makes it, in a process of its own behind a wall, and once more as a
trusted model in the server's process. Peers: Mosec with its raw body, MLServer with V2 REST (JSON,
since its REST has no binary extension) and gRPC (raw contents). Rounds are outermost.
"""

import argparse
import hashlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from bench import machine
from bench.provision import default_cache, environment
from heliograph.edge.grpc import messages

_HERE = Path(__file__).parent
_OIP = Path(messages.__file__).parents[1] / "oip" / "oip.binpb"
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
TENSOR = np.linspace(-1, 1, 150_000, dtype=np.float32).reshape(1, -1)
RAW = TENSOR.tobytes()
LAST = RAW[-4:]


def make_model(path: Path) -> Path:
    """`y` = `x`, float32 [N, 150000]."""
    ends = [
        helper.make_tensor_value_info(one, TensorProto.FLOAT, ["N", TENSOR.shape[1]])
        for one in ("x", "y")
    ]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def package(home: Path, model: Path, *, foreign: bool) -> None:
    """The model as a package that takes and gives tensors."""
    folder = home / "models" / "identity" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.read_bytes())
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    (folder / "model.toml").write_text(
        f'name = "identity"\nversion = 1\ntask = "tensors"\nengine = "onnx"\n'
        f'foreign = {str(foreign).lower()}\n[weights]\nfile = "model.onnx"\nsha256 = "{digest}"\n'
    )


# --- ways to call ---------------------------------------------------------------------------------


def http_way(
    port: int, path: str, headers: dict[str, str], body: bytes, end: bytes
) -> Callable[[], None]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call() -> None:
        connection.request("POST", path, body, headers)
        reply = connection.getresponse()
        answer = reply.read()
        if reply.status != 200 or end not in answer[-200:]:
            raise SystemExit(f"{path}: {reply.status} {answer[:300]!r}")

    return call


def v2_binary(port: int) -> Callable[[], None]:
    tensor = {
        "name": "x",
        "shape": list(TENSOR.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(RAW)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return http_way(port, "/v2/models/identity/infer", headers, head + RAW, LAST)


def v2_json(port: int) -> Callable[[], None]:
    tensor = {
        "name": "x",
        "shape": list(TENSOR.shape),
        "datatype": "FP32",
        "data": TENSOR.ravel().tolist(),
    }
    body = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Content-Type": "application/json"}
    return http_way(port, "/v2/models/identity/infer", headers, body, b"1.0]")


def tf_json(port: int) -> Callable[[], None]:
    body = json.dumps({"instances": TENSOR.tolist()}).encode()
    return http_way(port, "/v1/models/identity:predict", {}, body, b"1.0]")


def raw_body(port: int) -> Callable[[], None]:
    return http_way(port, "/inference", {}, RAW, LAST)


def v2_grpc(port: int) -> Callable[[], None]:
    made = messages.load(_OIP)
    request, reply = made.methods("inference.GRPCInferenceService")["ModelInfer"]
    asked = request(model_name="identity", raw_input_contents=[RAW])
    asked.inputs.add(name="x", datatype="FP32", shape=list(TENSOR.shape))
    sent = asked.SerializeToString()
    options = [("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
    invoke = channel.unary_unary(_METHOD)

    def call() -> None:
        answer = reply.FromString(invoke(sent, timeout=20))
        contents = answer.raw_output_contents
        if not contents or contents[0][-4:] != LAST:
            raise SystemExit("gRPC: not the tensor that was sent")

    return call


# --- servers --------------------------------------------------------------------------------------


@contextmanager
def serving(command: list[str], variables: dict[str, str], cwd: Path) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **variables},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def free_ports(many: int) -> int:
    """The first of so many ports in a row that are free."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        try:
            for port in range(first, first + many):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return first


def timed(make: Callable[[int], Callable[[], object]], port: int, calls: int) -> list[float]:
    """Microseconds of each call, after warming up; the server may still be starting."""
    ends = time.monotonic() + 60
    while True:
        try:
            call = make(port)
            call()
            break
        except (OSError, grpc.RpcError, SystemExit):
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)
    for _ in range(50):
        call()
    spent: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        spent.append((time.perf_counter() - began) * 1e6)
    return spent


def bare(model: Path, calls: int) -> list[float]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options)
    return timed(lambda _: lambda: session.run(None, {"x": TENSOR}), 0, calls)


def run_round(
    model: Path, calls: int, cache: Path, told: Callable[[str, list[float]], None]
) -> None:
    """One turn of everybody."""
    told("bare run", bare(model, calls))
    for foreign, words in ((True, "behind its wall"), (False, "in process")):
        port = free_ports(2)
        with tempfile.TemporaryDirectory() as home:
            package(Path(home), model, foreign=foreign)
            ports = ["--port", str(port), "--grpc-port", str(port + 1)]
            command = [
                sys.executable,
                "-m",
                "heliograph",
                "serve",
                "--open",
                "--home",
                home,
                *ports,
            ]
            with serving([*command, "--models", "identity"], {}, _HERE.parent):
                told(f"Heliograph {words}: V2 REST, binary", timed(v2_binary, port, calls))
                told(f"Heliograph {words}: V2 gRPC", timed(v2_grpc, port + 1, calls))
                few = max(20, calls // 10)
                told(f"Heliograph {words}: V2 REST, JSON", timed(v2_json, port, few))
                told(f"Heliograph {words}: TensorFlow REST", timed(tf_json, port, few))
    for peer in ("mosec", "mlserver"):
        folder, port = _HERE / "peers" / peer, free_ports(3)
        python = environment(peer, folder / "requirements.txt", cache, print)
        with tempfile.TemporaryDirectory() as scratch:
            variables = {"BENCH_PORT": str(port), "BENCH_MODEL": str(model), "TMPDIR": scratch}
            own = ["--address", "127.0.0.1", "--port", str(port), "--timeout", "60000"]
            command = [str(python), "identity.py", *(own if peer == "mosec" else [])]
            with serving(command, variables, folder):
                if peer == "mosec":
                    told("Mosec: raw body", timed(raw_body, port, calls))
                else:
                    told("MLServer: V2 gRPC", timed(v2_grpc, port + 1, calls))
                    few = max(20, calls // 10)
                    told("MLServer: V2 REST, JSON", timed(v2_json, port, few))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--calls", type=int, default=300)
    options.add_argument("--cache", type=Path, default=default_cache())
    options.add_argument("-o", "--output", type=Path, help="write the table here, too")
    asked = options.parse_args()
    medians: dict[str, list[float]] = {}
    slow: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder, "identity.onnx"))

        def told(name: str, spent: list[float]) -> None:
            medians.setdefault(name, []).append(statistics.median(spent))
            slow.setdefault(name, []).append(float(np.percentile(spent, 99)))
            print(f"{name:50} {statistics.median(spent):9.0f} us", flush=True)

        for number in range(asked.rounds):
            print(f"round {number + 1}")
            run_round(model, asked.calls, asked.cache, told)
    table = report(medians, slow, asked)
    print(table)
    if asked.output:
        asked.output.write_text(table, "utf-8")


def report(medians: dict[str, list[float]], slow: dict[str, list[float]], asked: Any) -> str:
    """The table, as Markdown."""
    floor = statistics.median(medians["bare run"])
    lines = [
        "# What serving adds to a bare run",
        "",
        f"Machine: {machine.line()}",
        f"Command: `python -m bench.overhead --rounds {asked.rounds} --calls {asked.calls}`. An "
        "identity model, float32 [1, 150000] (600 KB) in and out, one caller.",
        "",
        "| way | median call, us | overhead, us | p99, us | rounds |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name, found in medians.items():
        middle = statistics.median(found)
        rounds = ", ".join(f"{one:.0f}" for one in found)
        p99 = statistics.median(slow[name])
        lines.append(f"| {name} | {middle:.0f} | {middle - floor:.0f} | {p99:.0f} | {rounds} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
