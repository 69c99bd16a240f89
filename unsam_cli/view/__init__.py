"""Looking at masks: a page to explore the hierarchy with, and pictures with masks drawn over them.

======================  =========================================================================
`sets`                  several masks files over the same photographs
`agreement`             masks of several files that show the same object, and their colours
`report`                one self-contained HTML page for any number of images
`blocks`                the data of one image in the page, safe to embed
`contact_sheet`         a figure for print: photographs, and the masks of each file below them
`selecting`             which photographs a figure shows
`cells` `figure`        the pictures of a figure; how they are laid out and drawn
`overlays`              masks drawn over a photograph
`prompts`               the clicks and boxes that masks were prompted with
`files`                 pictures in, pictures with masks out
`hierarchy`             the masks of one image as a forest
`colours`               colours that distinguish a part from its whole
``report.html|css``     the page
``masks.js page.js``    decode and draw masks in the browser; the data of the page
``cut.js panes.js``     what the slider shows; the pictures side by side, and the pointer
``details.js list.js``  the panel and the list of images; the list of masks
``export.js``           masks as PNG files
``report.js``           opens images; search, keys, controls
======================  =========================================================================
"""
