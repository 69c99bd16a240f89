# The published settings. DATA holds the datasets; IMAGES is a part of SA-1B (0.4 M images), LABELS its
# sa_N.json files, which also number the images.
DATA ?= /data
IMAGES ?= $(DATA)/sa1b/images
LABELS ?= $(DATA)/sa1b/annotations
PHOTOS = --coco $(READY) --image-root $(IMAGES)
READY := $(OUT)/labels.json
SAM ?= facebook/sam-vit-base
# 0.1, 0.2 and 0.4 M images. UnSAM+ and the promptable models learn from the first subset.
SUBSETS ?= 4 2 1
# CutLER's COCO results on IMAGES, and on those of QUALITY; without them, MaskCut divides.
DETECTIONS ?=
DETECTIONS_QUALITY ?=
DINO := --backbone vit_base_patch8_224.dino --dtype bfloat16

WHOLE_FEATURES := $(DINO) --size 480 --square
divide = $(if $(1),--detections $(1) --min-score 0.3,--max-masks 3 --tau 0.15)
DIVIDE := $(call divide,$(DETECTIONS))
DIVIDE_QUALITY := $(call divide,$(DETECTIONS_QUALITY))
REGION_FEATURES := --region-size 256 $(DINO)
CONQUER := --preset paper
# cascadepsp needs pip install segmentation-refinement, and was trained with labels; crf and guided were not.
REFINE ?= cascadepsp
REFINEMENTS ?= none guided crf cascadepsp
RULES := --preset paper
TRAIN := --preset paper --dtype bfloat16
# The learning rate and the batch size of the round are those of the published configuration.
FIND := --score-window 0.7,1 --max-masks 2000
ROUND_IOU := 0.5
ROUND := --lr 1e-6 --batch-size 4
FINETUNE := --preset paper --dtype bfloat16
PREDICT := --max-masks 1000
# SAM's search for all masks: as Semantic-SAM evaluates it, and with SAM's own thresholds.
SEMANTIC_SAM := --min-score 0.35 --stability 0.05 --min-region 15
SAMS_OWN :=

SETS := coco lvis ade20k entityseg sa1b partimagenet paco
POINT_SETS := coco-panoptic
QUALITY := sa1b
IMAGES_coco := $(DATA)/coco/val2017
IMAGES_coco-panoptic := $(DATA)/coco/val2017
IMAGES_lvis := $(DATA)/coco
IMAGES_ade20k := $(DATA)/ade20k/validation
IMAGES_entityseg := $(DATA)/entityseg/images_lr
IMAGES_sa1b := $(DATA)/sa1b-test/images
IMAGES_partimagenet := $(DATA)/partimagenet/images/val
IMAGES_paco := $(DATA)/coco
SOURCE_coco := coco $(DATA)/coco/annotations/instances_val2017.json
SOURCE_coco-panoptic := coco-panoptic $(DATA)/coco/annotations/panoptic_val2017.json --png $(DATA)/coco/panoptic_val2017
SOURCE_lvis := lvis $(DATA)/lvis/lvis_v1_val.json
SOURCE_ade20k := ade20k $(DATA)/ade20k/validation
SOURCE_entityseg := entityseg $(DATA)/entityseg/entityv2_010203_entity_val_lr.json
SOURCE_sa1b := sa1b $(DATA)/sa1b-test/annotations
SOURCE_partimagenet := partimagenet $(DATA)/partimagenet/val.json
SOURCE_paco := paco $(DATA)/paco/paco_lvis_v1_val.json

$(OUT)/labels.json:
	@mkdir -p $(@D)
	$(CLI) convert sa1b $(LABELS) -o $@

$(patsubst %,$(OUT)/sets/%.json,$(SETS) $(POINT_SETS)): $(OUT)/sets/%.json:
	@mkdir -p $(@D)
	$(CLI) convert $(SOURCE_$*) -o $@
