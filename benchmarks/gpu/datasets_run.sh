#!/bin/sh
# The data sets of one sitting, each on a GPU of its own at the same time. OUT is the folder.
#   ON_FIRST, ON_SECOND: quota, eager, graph, rapp or nothing; SECONDS_EACH: for each of them.
# The same OUT continues an ended sitting.
set -u
: "${OUT:?name the folder for results}"
PYTHON=${PYTHON:-python3}
SECONDS_EACH=${SECONDS_EACH:-480}
CHECK=${CHECK:-} # --check: no GPU
export PYTHONUNBUFFERED=1
case "${ON_FIRST:-quota} ${ON_SECOND:-}" in *quota*) make -s -C quota_runtime || exit 1 ;; esac
measure() { # what, GPU, first CPU core
    what=$1 core=$3
    export CUDA_VISIBLE_DEVICES="$2"
    case $what in
    quota) set -- quota_dataset --gpu "$2" ${QUOTA_OPTIONS:-} ;;
    eager) set -- dataset --mode eager --cores "$core" $((core + 1)) $((core + 2)) $((core + 3)) ;;
    graph) set -- dataset --mode graph --cores "$core" --models ${GRAPH_MODELS:-} ;;
    nothing) return ;;
    rapp)
        export OUT SECONDS_EACH PYTHON
        sh benchmarks/gpu/rapp_run.sh
        return
        ;;
    esac
    data_set=$1
    shift
    $PYTHON -m "benchmarks.gpu.h200_$data_set" --out "$OUT" --seconds "$SECONDS_EACH" $CHECK "$@"
}
second=
if [ -n "${ON_SECOND:-}" ]; then
    measure "$ON_SECOND" 1 12 >"$OUT/$ON_SECOND.log" 2>&1 &
    second=$!
fi
measure "${ON_FIRST:-quota}" 0 4 >"$OUT/${ON_FIRST:-quota}.log" 2>&1
[ -z "$second" ] || wait "$second"
tail -n 4 "$OUT"/*.log
