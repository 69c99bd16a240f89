"""Promptable models at work.

===========  ====================================================================================
`settings`   what to ask; imports nothing heavy
`lines`      files of prompts
`sources`    prompts per image, wherever they come from
`answers`    one image: prompts in, annotations out
`stage`      many images, from files to a file
===========  ====================================================================================
"""
