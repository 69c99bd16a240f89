"""From images to records of patch features: what `unsam extract-features` does.

============  ===================================================================================
`plan`        which rectangles of an image become records, at which size
`prepare`     decode, crop and resize one image; project and convert its features
`project`     fewer channels with nearly the same inner products
`pipeline`    many images at once: decoding threads, batches, results in order
`stage`       the whole of ``unsam extract-features``
============  ===================================================================================
"""
