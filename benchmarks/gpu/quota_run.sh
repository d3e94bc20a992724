#!/bin/bash
# The quota benchmark in parts of under ten minutes, from the repository's root:
#     bash benchmarks/gpu/quota_run.sh PART OUT [options of quota_h200.py, such as --check]
# With two GPUs: two-1, two-2 and two-3; look is a short one. With one: one-1, one-2, one-3.
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
two-1) # shares and live changes at full length, both modes at once
    run 0 "two pods eager" "live resize eager" &
    run 1 "two pods graph" "live resize graph" &
    ;;
two-2)
    run 0 "area eager" "HAMi-core shares=0.5" "HAMi-core overhead" "MPS percentage eager" \
        "quota alone eager" "two pods without MPS eager=0.6" &
    run 1 "50 pod" "stop" "fork" "launches" "kill without" "memory" "borrowing graph=0.4" \
        "plain time slicing graph" "MPS percentage graph" "quota alone graph" "area graph=0.5" &
    ;;
two-3)
    run 0 "overhead eager" "victim eager" "resize latency" "plain time slicing eager" "kill under" &
    run 1 "overhead graph" "victim graph" &
    ;;
look) # two GPUs for two minutes
    run 0 "two pods eager=0.2" "live resize eager=0.08" "resize latency" "victim eager=0.25" &
    run 1 "two pods graph=0.2" "live resize graph=0.08" "kill under" &
    ;;
one-1)
    run 0 "two pods graph" "two pods eager" "resize latency" "memory"
    ;;
one-2)
    run 0 "live resize graph=0.5" "live resize eager=0.5" "area graph=0.7" "victim eager=0.5"
    ;;
one-3)
    run 0 "overhead eager" "overhead graph=0.7" "victim graph=0.5" "50 pod" "fork" "stop" \
        "HAMi-core shares=0.3" "launches" "plain time slicing" "MPS percentage" "kill"
    ;;
*)
    echo "expected two-1, two-2, two-3, look, one-1, one-2 or one-3, found $part" >&2
    exit 2
    ;;
esac
wait
