"""From images to records of patch features: what `unsam extract-features` does.

============  ===================================================================================
`plan`        which rectangles of an image become records, at which size
`prepare`     decoding, cropping and resizing one image; and the finished features of one image
`project`     fewer channels with the same inner products, as nearly as can be
`pipeline`    many images at once: decoding threads, batches, results in order
============  ===================================================================================
"""
