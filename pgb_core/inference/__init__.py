"""Runs an artifact without a server: tokenise, run, decode. Needs neither torch nor transformers.

load        an artifact as one object that classifies or answers
prepare     texts and questions to inputs, all at once
batches     any number of inputs through a model
tasks       what is asked of a model, and how its logits are read; one file a task
runtimes    what runs a graph; one file a runtime
tokenizer   text to token ids; pieces says where a long text may be cut
errors      what is refused
"""
