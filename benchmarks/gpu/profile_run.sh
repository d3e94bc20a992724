#!/bin/sh
# One sitting on a real GPU: lone requests under quotas, then three profiles. OUT is the folder.
set -u
: "${OUT:?name the folder for results}"
PYTHON=${PYTHON:-python3}
make -s -C quota_runtime OUT="$PWD/build" || exit 1
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
$PYTHON -m benchmarks.gpu.h200_quota_dataset --library build/libhas_quota.so --out "$OUT" \
    --seconds "${SECONDS_OF_QUOTA:-90}"
profile --model resnet50 --dtype bf16 --mode graph --seconds 12
profile --model resnet50 --dtype fp32 --mode eager --seconds 12
if [ -n "${RAPP_DATA:-}" ]; then # the rest of the sitting trains the published network
    for split in random model; do
        $PYTHON -m benchmarks.rapp_train --data "$RAPP_DATA" --split $split --width 512 \
            --dropout 0 --rate 5e-4 --groups 96 --seconds "${SECONDS_OF_TRAINING:-40}" --out /tmp/rapp-gnn
        cp /tmp/rapp-gnn/gnn-$split.json "$OUT"
    done
fi
