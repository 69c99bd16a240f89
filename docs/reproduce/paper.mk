# The published settings. DATA holds the datasets; IMAGES is a part of SA-1B, LABELS its sa_N.json files.
DATA ?= /data
IMAGES ?= $(DATA)/sa1b/images
LABELS ?= $(DATA)/sa1b/annotations
SAM ?= facebook/sam-vit-base
# CutLER's COCO results on IMAGES, as published; without them, MaskCut divides.
DETECTIONS ?=
DINO := --backbone vit_base_patch8_224.dino --dtype bfloat16

WHOLE_FEATURES := $(DINO) --size 480 --square
DIVIDE := $(if $(DETECTIONS),--detections $(DETECTIONS) --min-score 0.3,--max-masks 3 --tau 0.15)
REGION_FEATURES := $(DINO) --region-size 256
CONQUER := --preset paper
# cascadepsp needs pip install segmentation-refinement, and was trained with labels; crf and guided were not.
REFINE ?= cascadepsp
RULES := --preset paper
TRAIN := --preset paper --dtype bfloat16
# Window, rule and number of rounds are not published; LR and batch size are from the published file.
FIND := --score-window 0.7,1 --max-masks 2000
ROUND_IOU := 0.5
ROUND := --lr 1e-6 --batch-size 4
FINETUNE := --preset paper --dtype bfloat16
PREDICT := --max-masks 1000

SETS := coco lvis ade20k entityseg sa1b partimagenet paco
POINT_SETS := coco
IMAGES_coco := $(DATA)/coco/val2017
IMAGES_lvis := $(DATA)/coco
IMAGES_ade20k := $(DATA)/ade20k/validation
IMAGES_entityseg := $(DATA)/entityseg/images_lr
IMAGES_sa1b := $(DATA)/sa1b-test/images
IMAGES_partimagenet := $(DATA)/partimagenet/images/val
IMAGES_paco := $(DATA)/coco
SOURCE_coco := coco $(DATA)/coco/annotations/instances_val2017.json
SOURCE_lvis := lvis $(DATA)/lvis/lvis_v1_val.json
SOURCE_ade20k := ade20k $(DATA)/ade20k/validation
SOURCE_entityseg := entityseg $(DATA)/entityseg/entityv2_010203_entity_val_lr.json
SOURCE_sa1b := sa1b $(DATA)/sa1b-test/annotations
SOURCE_partimagenet := partimagenet $(DATA)/partimagenet/val.json
SOURCE_paco := paco $(DATA)/paco/paco_lvis_v1_val.json

$(OUT)/labels.json:
	@mkdir -p $(@D)
	$(UNSAM) convert sa1b $(LABELS) -o $@

$(SETS:%=$(OUT)/sets/%.json): $(OUT)/sets/%.json:
	@mkdir -p $(@D)
	$(UNSAM) convert $(SOURCE_$*) -o $@
