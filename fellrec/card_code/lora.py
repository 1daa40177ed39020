from peft import PeftModel


def adapted(model, folder):
    """The base model with the adapter of a folder."""
    return PeftModel.from_pretrained(model, folder).eval()
