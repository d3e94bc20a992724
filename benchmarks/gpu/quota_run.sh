#!/bin/bash
# The quota benchmark in parts of under ten minutes, from the repository's root:
#     bash benchmarks/gpu/quota_run.sh PART OUT [options of quota_h200.py, such as --check]
# With two GPUs: two-1 and two-2, or short for SECONDS_EACH. With one: one-1, one-2, one-3.
# HAMI names HAMi-core's library.
set -u
part=$1 out=$2
shift 2
mkdir -p "$out"

run() { # gpu, phases...
    local gpu=$1
    shift
    PYTHONUNBUFFERED=1 ${PYTHON:-python3} benchmarks/gpu/quota_h200.py --out "$out" --name "$part-$gpu" \
        --gpu "$gpu" --seconds "${SECONDS_EACH:-588}" ${HAMI:+--hami "$HAMI"} "${options[@]}" --only "$@" \
        2>&1 | tee "$out/$part-$gpu.log"
}

options=("$@")
case $part in
two-1)
    run 0 "two pods eager" "area eager" "HAMi-core shares=0.5" "HAMi-core overhead" \
        "resize latency" "quota alone eager" &
    run 1 "two pods graph" "area graph" "fork" "stop" "50 pod" "memory" "launches" "kill" &
    ;;
two-2)
    run 0 "live resize eager" "overhead eager" "victim eager" "plain time slicing eager" \
        "MPS percentage eager" "two pods without MPS eager=0.6" &
    run 1 "live resize graph" "overhead graph" "victim graph" "plain time slicing graph" \
        "MPS percentage graph" "quota alone graph" "borrowing graph=0.4" &
    ;;
short) # two GPUs for SECONDS, the most telling first
    run 0 "two pods eager=0.4" "live resize eager=0.4" "HAMi-core shares=0.3" "victim eager=0.4" \
        "area graph=0.25" "MPS percentage eager" "quota alone eager=0.5" &
    run 1 "two pods graph=0.4" "live resize graph=0.4" "50 pod" "stop" "fork" "launches" \
        "borrowing graph=0.3" "plain time slicing graph" "kill" "memory" &
    ;;
one-1)
    run 0 "two pods graph" "two pods eager" "overhead graph=0.6" "resize latency" "memory"
    ;;
one-2)
    run 0 "live resize graph=0.5" "live resize eager=0.5" "area graph=0.7" "overhead eager=0.6"
    ;;
one-3)
    run 0 "50 pod" "fork" "stop" "victim graph=0.7" "victim eager=0.7" "HAMi-core shares=0.3" \
        "launches" "plain time slicing" "MPS percentage" "quota alone graph=0.5" "kill"
    ;;
*)
    echo "expected two-1, two-2, short, one-1, one-2 or one-3, found $part" >&2
    exit 2
    ;;
esac
wait
