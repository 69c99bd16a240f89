"""Conquer: merge the patches of a region bottom-up into parts, and parts into larger parts.

======================  =========================================================================
`merge`                 the complete merge tree of a graph of patches, by cosine similarity
`levels`                which clusters of the tree become masks, and how they nest
`pixels`                from a partition of patches to one of pixels, and to the runs of masks
`units`                 small clusters that all trees of a grid begin with
`coarser`               larger patches, which are means of those of the features
`forest`                the merge trees of an image's regions
`drawing`               their clusters on the pixels of the picture
`ranking`               the score of a cluster; `borders` and `recurrence` measure what it needs
`paper`                 the published rules, with their quirks
`packed`                masks of large pictures, compressed until they are compared
`order`                 the masks of regions, then their parts by score
`conquer`               all regions of an image: merge, select, refine, rank, drop repetitions
`settings`              the options
`stage`                 features file in, masks file out
======================  =========================================================================
"""

from unsam_cli.callable_room import make_callable

make_callable(__name__)
