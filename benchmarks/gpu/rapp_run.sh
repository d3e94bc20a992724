#!/bin/sh
# RaPP's published network on one GPU: hidden models, hidden rows; families from static features alone.
# OUT: the folder for rapp-gnn.json; RAPP_DATA: the public data; SECONDS_EACH: of all trainings.
set -u
: "${OUT:?name the folder for results}" "${RAPP_DATA:?name the folder of the public data}"
PYTHON=${PYTHON:-python3}
share() { echo $((SECONDS_EACH * $1 / 100)); }
train() { # captured steps; plain ones where the driver refuses
    $PYTHON -m benchmarks.rapp_train --data "$RAPP_DATA" --out "$OUT" --quiet ${RAPP_OPTIONS:-} "$@" ||
        $PYTHON -m benchmarks.rapp_train --data "$RAPP_DATA" --out "$OUT" --quiet --plain ${RAPP_OPTIONS:-} "$@"
}
regular="--dropout 0.1 --decay 1.0 --validate-every 1000"
train --split model --folds 5 --relative --seconds "$(share 55)" $regular
train --split random --seconds "$(share 20)"
train --split family --folds 5 --label family-static --static --seconds "$(share 15)" $regular
