"""Conquer: merge the patches of a region bottom-up into parts, and parts into larger parts.

======================  =========================================================================
`merge`                 the whole merge tree of a graph of patches, by cosine similarity
`levels`                which clusters of the tree become masks, and how they nest
`pixels`                from a partition of patches to one of pixels, and to the runs of masks
`forest`                the trees of an image's regions, their clusters' ranks and pixels
`paper`                 the published rules, quirks included
`conquer`               all regions of an image: merge, pick, refine, rank, drop repetitions
`settings`              the options
`stage`                 features file in, masks file out
======================  =========================================================================
"""
