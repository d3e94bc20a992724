#!/bin/bash
# The quota benchmark in parts of under ten minutes, from the repository's root:
#     bash benchmarks/gpu/quota_run.sh PART OUT [options of quota_h200.py, such as --check]
# With two GPUs: two-1 and two-2; again and look are short ones. With one: one-1 to one-4.
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
two-1) # shares and live changes at full length, both modes at once; then what time is left for
    run 0 "two pods eager" "live resize eager" "HAMi-core shares 10" "HAMi-core shares 50" &
    run 1 "two pods graph" "live resize graph" "area eager resnet50=0.8" "area eager bert=0.8" &
    ;;
two-2)
    run 0 "HAMi-core shares" "HAMi-core overhead" "50 pod" "stop" "fork" "launches" \
        "plain time slicing" &
    run 1 "area eager" "kill without" "memory" "borrowing graph=0.4" "MPS percentage" \
        "area graph=0.5" &
    ;;
look) # two GPUs for a minute: is the library at work, are the figures sound
    run 0 "two pods eager=0.17" "live resize eager=0.03" &
    run 1 "two pods graph=0.17" "live resize graph=0.03" "kill under" &
    ;;
again) # shares at half length, and eager what needs a GPU that is ahead of the host
    run 0 "two pods eager=0.5" "live resize eager=0.12" "area eager bert=0.8" &
    run 1 "two pods graph=0.5" "area eager resnet50=0.8" "area eager decoder=0.8" &
    ;;
one-1) # what a call costs, what a neighbour feels
    run 0 "overhead eager" "overhead graph=0.5" "victim eager=0.5" "resize latency" "memory" \
        "victim graph=0.4" "area eager decoder" "kill under"
    ;;
one-2)
    run 0 "two pods graph" "two pods eager"
    ;;
one-3)
    run 0 "live resize graph=0.5" "live resize eager=0.5" "area graph=0.7"
    ;;
one-4)
    run 0 "50 pod" "fork" "stop" "HAMi-core shares=0.3" "launches" "plain time slicing" \
        "MPS percentage" "area eager" "kill without"
    ;;
*)
    echo "expected two-1, two-2, again, look or one-1 to one-4, found $part" >&2
    exit 2
    ;;
esac
wait
