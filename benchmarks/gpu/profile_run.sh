#!/bin/sh
# One sitting on a real GPU: three profiles. OUT is the folder.
set -u
: "${OUT:?name the folder for results}"
PYTHON=${PYTHON:-python3}
profile() {
    $PYTHON -c 'import argparse, sys
from kserve_has.errors import HasError
from kserve_has.profiler.command import add_profile
parser = argparse.ArgumentParser()
add_profile(parser.add_subparsers(required=True))
args = parser.parse_args(sys.argv[1:])
try:
    args.run(args)
except HasError as error:
    print("refused:", error)' profile --out "$OUT" "$@"
}
profile --model googlenet --factory benchmarks.gpu.served_example:googlenet \
    --dtype bf16 --mode graph --points 14 --seconds 25
profile --model resnet50 --dtype bf16 --mode graph --seconds 12
profile --model resnet50 --dtype fp32 --mode eager --seconds 12
