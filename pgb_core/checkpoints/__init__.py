"""Reading a fine-tuned model: its files, its weights and its tokenizer."""
