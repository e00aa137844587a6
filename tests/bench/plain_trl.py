"""The plain side of the speed bench: what a careful user writes from the documentation of TRL and PEFT.

bf16, loss on the completions alone, no checkpointing, rows in the file's order; everything else as the libraries have it.
The bottleneck adapter, which PEFT lacks, is the studio's own module, handed to TRL as any PEFT method is.
"""

import torch
from datasets import load_dataset
from peft import LoraConfig, PeftConfig, PrefixTuningConfig, PromptTuningConfig
from transformers import BitsAndBytesConfig, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from tests.bench.workloads import MAX_LENGTH, Moment, Task, asked, tell


def main() -> None:
    task = asked()
    trainer = dpo_trainer(task) if task.of.objective == "dpo" else sft_trainer(task)
    clock, tokens = Clock(), counted(trainer)
    trainer.add_callback(clock)
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    tell(
        task, tokens=tokens, ends=clock.ends, losses=[step["loss"] for step in steps],
        grad_norms=[float(step["grad_norm"]) for step in steps],
    )


def sft_trainer(task: Task) -> SFTTrainer:
    rows = load_dataset("json", data_files=task.rows, split="train")
    rows = rows.map(
        lambda row: {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}, remove_columns=rows.column_names
    )
    return SFTTrainer(task.model, args=SFTConfig(**settings(task)), train_dataset=rows, peft_config=peft_config(task))


def dpo_trainer(task: Task) -> DPOTrainer:
    rows = load_dataset("json", data_files=task.rows, split="train")
    return DPOTrainer(task.model, args=DPOConfig(**settings(task)), train_dataset=rows, peft_config=peft_config(task))


def settings(task: Task) -> dict:
    return {
        "output_dir": f"{task.rows}.trl", "max_steps": task.steps, "per_device_train_batch_size": task.batch_size,
        "learning_rate": task.of.learning_rate, "lr_scheduler_type": "constant", "max_length": MAX_LENGTH, "bf16": True,
        "gradient_checkpointing": False, "train_sampling_strategy": "sequential", "logging_steps": 1, "save_strategy": "no",
        "report_to": "none", "seed": 0, "disable_tqdm": True, "dataloader_pin_memory": False, "use_cpu": not torch.cuda.is_available(),
        "model_init_kwargs": {"quantization_config": packed()} if task.of.method == "qlora" else None,
    }  # fmt: skip


def packed() -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16, bnb_4bit_use_double_quant=True
    )


def peft_config(task: Task) -> PeftConfig | None:
    match task.of.method:
        case "lora" | "qlora":
            targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
            return LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM")
        case "prefix":
            return PrefixTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM")
        case "prompt":
            return PromptTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM")
        case "adapter":
            from backend.tuners.bottleneck import BottleneckConfig

            return BottleneckConfig(
                target_modules=["o_proj", "down_proj"], placement="houlsby", hidden=576, bottleneck=36, activation="relu",
                task_type="CAUSAL_LM",
            )
    return None


class Clock(TrainerCallback):
    """When every step ended."""

    def __init__(self) -> None:
        self.ends: list[Moment] = []

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        self.ends.append(Moment.now())


def counted(trainer: SFTTrainer | DPOTrainer) -> list[int]:
    """Tokens of each batch, padding aside; filled while the trainer trains."""
    tokens: list[int] = []
    collate = trainer.data_collator

    def collate_and_count(rows: list) -> dict:
        batch = collate(rows)
        tokens.append(int(batch["attention_mask"].sum()))
        return batch

    trainer.data_collator = collate_and_count
    return tokens


if __name__ == "__main__":
    main()
