# Everything in minutes on two cores: five photographs, the built-in descriptor, networks with random
# weights that hardly learn. The "labels" are the pipeline's own masks with other settings.
NOTE := SCALE=tiny: five photographs in place of the datasets, and networks that hardly learn. The figures show only that all stages fit together; the differences mean nothing.
IMAGES ?= $(OUT)/photos
PHOTOS = $(IMAGES)
SAM ?= $(OUT)/sam
READY := $(OUT)/photos/ready
SAM_READY := $(OUT)/sam/config.json
SUBSETS ?= 2 1

DIVIDE := --max-masks 2
REGION_FEATURES := --whole-image
CONQUER := --max-masks 50
REFINE ?= guided
REFINEMENTS ?= none guided
RULES :=
TRAIN := --preset tiny --steps 80 --queries 50 --jobs 0
FIND := --score-window 0.2,1
ROUND_IOU := 0.5
ROUND := --lr 1e-4
FINETUNE := --preset tiny --steps 10 --clicks 8 --jobs 0
PREDICT :=
SEMANTIC_SAM := --points-per-side 8 --min-score 0 --stability 0.05 --min-region 15
SAMS_OWN := --points-per-side 8

# Two of the seven sets, and the set of clicks, in the names of the paper's.
SETS := coco sa1b
POINT_SETS := coco-panoptic
QUALITY := sa1b
PHOTOS_coco := astronaut.png
PHOTOS_coco-panoptic := astronaut.png
PHOTOS_sa1b := chelsea.png coffee.png rocket.jpg motorcycle_left.png
IMAGES_coco = $(IMAGES)
IMAGES_coco-panoptic = $(IMAGES)
IMAGES_sa1b = $(IMAGES)

# Photographs from the scikit-image package.
$(READY):
	@mkdir -p $(@D)
	$(PYTHON) $(HERE)tiny.py photos $(@D) $(PHOTOS_coco) $(PHOTOS_sa1b)
	@touch $@

$(SAM_READY):
	@mkdir -p $(@D)
	$(PYTHON) $(HERE)tiny.py sam $(@D)

$(OUT)/labels.json: $(parts:%=$(OUT)/%/regions.h5)
	for part in $(parts:%=$(OUT)/%); do $(CLI) conquer $$part/regions.h5 --max-masks 20 --refine none -q -o $$part/labels.json; done
	$(CLI) merge $(parts:%=$(OUT)/%/labels.json) -o $@

$(patsubst %,$(OUT)/sets/%.json,$(SETS) $(POINT_SETS)): $(OUT)/sets/%.json: $(OUT)/labels.json
	@mkdir -p $(@D)
	$(PYTHON) $(HERE)tiny.py set $< $@ $(PHOTOS_$*)
