#!/usr/bin/env bash
# Measures the CUDA backend on this machine: everything in one run of under ten minutes, without
# cargo, without a toolkit, without network.
#
#   ./measure.sh [RESULTS]      RESULTS is a folder, ./results if not given
#
# Needs an NVIDIA driver and a device of compute capability 8.0 or later. The kernels' images for
# common architectures are in echo/cubins; for others libnvrtc must be on LD_LIBRARY_PATH. Figures
# of the default model need its file beside this script (`cargo xtask bundle-gpu --model`), or
# ECHO_MODEL_DIR. Each part writes a file into RESULTS and one line into RESULTS/summary.txt; a part
# that fails or runs out of its time is told there, and the others go on. The exit status is 0 only
# if no part failed.
#
#   part           what it shows                                                    at most
#   machine        device, driver, clocks, commit of the bundle
#   conformance    every operation against its reference, and row purity               80 s
#   episodes       tiny models, plain against drafted under every policy, to the bit   40 s
#   memcheck       conformance under compute-sanitizer, where it is found              80 s
#   racecheck      likewise, for races in shared memory, of the quicker kernels        60 s
#   kernels        Llama-3.1-8B shape, BF16: one row against the bound by bytes,       100 s
#                  1 to 256 rows against one row, products of 256 rows; the 135M shape as graphs
#                  and launched one by one
#   cublas         the products of 256 rows by PyTorch, where Python has it             30 s
#   exactness      the default model, plain against drafted, 1 to 256 requests:        125 s
#                  every text must be the same; tokens per second and shares of a step
#   transformers   plain and assisted generation by Hugging Face transformers on the    55 s
#                  same questions, where Python has it
#
# Not measured, because it does not exist yet: numerics without the guarantee.
set -u
here=$(cd "$(dirname "$0")" && pwd)
results=${1:-$here/results}
mkdir -p "$results" || exit 2
results=$(cd "$results" && pwd)
summary=$results/summary.txt
: > "$summary"
# What an earlier run left is not told as this one's.
rm -f "$results"/{kernels,cublas,transformers}.txt
failed=0

# Images are looked for in $XDG_CACHE_HOME/echo/cubins.
export XDG_CACHE_HOME=$here
export ECHO_REQUIRE=cuda
[ -n "${ECHO_MODEL_DIR:-}" ] || export ECHO_MODEL_DIR=$here

say() { printf '%s\n' "$*" | tee -a "$summary"; }

# part NAME SECONDS COMMAND...
part() {
    local name=$1 limit=$2 start=$SECONDS status=0
    shift 2
    timeout --kill-after=5 "$limit" "$@" > "$results/$name.txt" 2>&1 || status=$?
    case $status in
        0) say "$name: ok, $((SECONDS - start)) s" ;;
        124 | 137) say "$name: OUT OF TIME after $limit s"; failed=1 ;;
        *) say "$name: FAILED ($status), see $name.txt"; failed=1 ;;
    esac
}

machine() {
    cat "$here/commit.txt"
    date -u +%FT%TZ
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit \
        --format=csv 2> /dev/null || echo 'no nvidia-smi'
    "$here/echo/echo-llm" doctor
}

cublas() {
    python3 - <<'PYTHON'
import statistics, time, torch
shapes = [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)] * 4
weights = [torch.randn(n, k, device="cuda", dtype=torch.bfloat16) for n, k in shapes]
inputs = {k: torch.randn(256, k, device="cuda", dtype=torch.bfloat16) for _, k in shapes}
def run():
    for _ in range(8):
        for w in weights:
            torch.nn.functional.linear(inputs[w.shape[1]], w)
    torch.cuda.synchronize()
times = []
for _ in range(13):
    start = time.perf_counter(); run(); times.append(time.perf_counter() - start)
taken = statistics.median(times[2:])
flops = 2 * 256 * sum(n * k for n, k in shapes) * 8
print(f"cuBLAS BF16, the layers' products of 256 rows: {taken * 1e3:.3f} ms, {flops / taken / 1e12:.0f} TFLOP/s")
PYTHON
}

export -f machine cublas
export here

part machine 30 bash -c machine
part conformance 80 "$here/echo/conformance" --test-threads=1 --nocapture
part episodes 40 "$here/echo/episodes" --test-threads=1 --nocapture on_a_device
if sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null); then
    part memcheck 80 "$sanitizer" --tool memcheck --error-exitcode 9 \
        "$here/echo/conformance" --test-threads=1
    part racecheck 60 "$sanitizer" --tool racecheck --error-exitcode 9 \
        "$here/echo/conformance" --test-threads=1 rms_norm silu_mul topk_logprob
else
    say 'memcheck, racecheck: skipped, there is no compute-sanitizer'
fi
part kernels 100 "$here/echo/figures" "$here/echo/cubins"
if python3 -c 'import torch; assert torch.cuda.is_available()' 2> /dev/null; then
    part cublas 30 bash -c cublas
else
    say 'cublas: skipped, there is no PyTorch with CUDA'
fi
if ls "$ECHO_MODEL_DIR"/*.gguf > /dev/null 2>&1; then
    part exactness 125 "$here/echo/echo-llm" bench --backend cuda -c 1,16,64,256 -r 3 \
        --out "$results/bench"
else
    say 'exactness: skipped, there is no model (cargo xtask bundle-gpu --model)'
fi
model=$(ls "$ECHO_MODEL_DIR"/*.gguf 2> /dev/null | head -n 1)
if [ -z "$model" ]; then
    say 'transformers: skipped, there is no model'
elif python3 - 2> /dev/null << 'END'
import gguf, torch, transformers
assert torch.cuda.is_available()
assert tuple(map(int, transformers.__version__.split(".")[:2])) >= (4, 56)
END
then
    part transformers 55 python3 "$here/transformers_peer.py" "$model" "$here/questions.jsonl"
else
    say 'transformers: skipped, Python lacks it (from 4.56 on), gguf, or PyTorch with CUDA'
fi

grep -h 'bandwidth\|sequences x\|launched\|products\|cuBLAS\|^transformers' \
    "$results"/{kernels,cublas,transformers}.txt 2> /dev/null | tee -a "$summary"
say "took $SECONDS s in all"
exit $failed
