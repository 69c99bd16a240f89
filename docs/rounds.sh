#!/usr/bin/env bash
# usage: docs/rounds.sh IMAGES OUT [ROUNDS]
# From a folder of images without labels to a segmenter, and on: each round trains on the confident
# masks of the round before, in the shape of the pseudo-masks that they resemble. Stops when a round is
# worse than the one before.
#
# CLI     the command (default: unsam)
# TRAIN   more options of train
# LABELS  masks of some of the images, as COCO: judge rounds by AP on them, not by agreement
# Run it again after an interruption: finished steps are kept.
set -euo pipefail
images=$1 out=$2 rounds=${3:-2}
read -ra unsam <<<"${CLI:-unsam}"
read -ra options <<<"${TRAIN:-}"
u() { "${unsam[@]}" "$@"; }
have() { [ -e "$1" ]; }
mkdir -p "$out"

if ! have "$out/masks.json"; then
  u extract-features "$images" --resume -o "$out/features.h5"
  u divide "$out/features.h5" --resume -o "$out/objects.json"
  u extract-features "$images" --regions "$out/objects.json" --whole-image --resume -o "$out/regions.h5"
  u conquer "$out/regions.h5" --resume -o "$out/masks.json"
  rm "$out/features.h5" "$out/regions.h5"
fi

# How well a round is: AP on labels; else the share of its confident masks that it finds again in the
# images enlarged by another factor.
report() { echo "$out/report-$1${LABELS:+-labels}.json"; }
judge() {
  if [ -n "${LABELS:-}" ]; then
    u evaluate "$LABELS" "$out/found-$1.json" --match file-name --quiet -o "$(report "$1")" >/dev/null
  else
    u predict "$out/round-$1" "$images" --scale 1.2 --resume -o "$out/again-$1.json"
    u evaluate "$out/sure-$1.json" "$out/again-$1.json" --quiet -o "$(report "$1")" >/dev/null
  fi
}

metric() {
  local name=AR@100
  [ -z "${LABELS:-}" ] || name=AP
  sed -n "s/^ *\"$name\": \([-0-9.e]*\),*$/\1/p" "$(report "$1")" | head -n 1
}

best=1
for n in $(seq 1 "$rounds"); do
  masks=$out/masks.json start=()
  if [ "$n" -gt 1 ]; then
    masks=$out/snapped-$n.json start=(--init "$out/round-$best" --steps 600 --lr 5e-4)
    have "$masks" || u merge --snap 0.6 "$out/sure-$best.json" "$out/masks.json" -o "$masks"
  fi
  u train "$masks" --images "$images" --preset tiny "${start[@]}" "${options[@]}" --resume -o "$out/round-$n"
  have "$out/found-$n.json" || u predict "$out/round-$n" "$images" --resume -o "$out/found-$n.json"
  have "$out/sure-$n.json" || u filter "$out/found-$n.json" --min-score 0.3 --resume -o "$out/sure-$n.json"
  have "$(report "$n")" || judge "$n"
  [ -n "$(metric "$n")" ] || { echo "$(report "$n") has no figure to judge round $n by" >&2; exit 1; }
  echo "round $n: $(metric "$n")"
  if [ "$n" -gt 1 ] && ! awk "BEGIN { exit !($(metric "$n") >= $(metric "$best")) }"; then
    echo "round $n is worse than round $best; stopped"
    break
  fi
  best=$n
done
echo "The best segmenter is $out/round-$best, its masks are $out/found-$best.json."
