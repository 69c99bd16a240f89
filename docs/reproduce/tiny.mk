# Everything in minutes on two cores: five photographs, the built-in descriptor, networks with random
# weights that hardly learn. The "labels" are the pipeline's own masks with other settings, so the
# tables only show that all stages fit together.
IMAGES ?= $(OUT)/photos
SAM ?= $(OUT)/sam
READY := $(OUT)/photos/ready
SAM_READY := $(OUT)/sam/config.json

DIVIDE := --max-masks 2
REGION_FEATURES := --whole-image
CONQUER := --max-masks 50
REFINE ?= guided
RULES :=
TRAIN := --preset tiny --steps 80 --queries 50 --jobs 0
FIND := --score-window 0.2,1
ROUND_IOU := 0.5
ROUND := --lr 1e-4
FINETUNE := --preset tiny --steps 10 --clicks 8 --jobs 0
PREDICT :=

SETS := people things
POINT_SETS := people
IMAGES_people := $(IMAGES)
IMAGES_things := $(IMAGES)
PHOTOS_people := astronaut.png
PHOTOS_things := chelsea.png coffee.png rocket.jpg motorcycle_left.png

# Photographs from the scikit-image package.
$(READY):
	@mkdir -p $(@D)
	$(PYTHON) $(HERE)tiny.py photos $(@D) $(PHOTOS_people) $(PHOTOS_things)
	@touch $@

$(SAM_READY):
	@mkdir -p $(@D)
	$(PYTHON) $(HERE)tiny.py sam $(@D)

$(OUT)/labels.json: $(parts:%=$(OUT)/regions.%.h5)
	for part in $(parts); do $(UNSAM) conquer $(OUT)/regions.$$part.h5 --max-masks 20 --refine none -q -o $(OUT)/labels.$$part.json; done
	$(UNSAM) merge $(parts:%=$(OUT)/labels.%.json) -o $@

$(SETS:%=$(OUT)/sets/%.json): $(OUT)/sets/%.json: $(OUT)/labels.json
	@mkdir -p $(@D)
	$(PYTHON) $(HERE)tiny.py set $< $@ $(PHOTOS_$*)
