import json
from collections import Counter, defaultdict
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig


class Recommender:
    """The base model with this adapter, asked for a title in words."""

    def __init__(self, folder, base):
        self.told = json.loads((Path(folder) / "recommender.json").read_text(encoding="utf-8"))
        self.tokenizer, dtype = AutoTokenizer.from_pretrained(folder), getattr(torch, self.told["dtype"])
        chosen = {"dtype": dtype}
        if self.told["quantise"] == "int8":
            chosen["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
        if self.told["quantise"] == "int4":
            chosen["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
            )
        self.model = adapted(AutoModelForCausalLM.from_pretrained(base, **chosen), folder)
        text, self.eos = self.told["text"], self.told["eos"]
        self.head = self.told["before"] + self._encode(text["head"])["input_ids"]
        self.between, self.tail, self.quote = (self._inner(text[name]) for name in ("between", "tail", "end"))
        self.end = [*self.quote, self.eos]

    def read(self, catalogue):
        """Makes what titles are found by; ``catalogue`` is a list of items, each its attributes, among them the title."""
        self.titles = [self._inner(item["title"])[: self.told["title_tokens"]] for item in catalogue]
        if self.told["grounding"] == "distance":
            order = sorted(range(len(self.titles)), key=lambda item: len(self.titles[item]))
            vectors = self._embed([self.titles[item] for item in order])
            self.items = torch.empty_like(vectors).index_copy_(0, torch.tensor(order), vectors)
            return
        self.below, self.following, self.same = Counter(), defaultdict(set), defaultdict(list)
        for item, title in enumerate(self.titles):
            whole = (*title, *self.end)
            self.same[whole].append(item)
            for length, token in enumerate(whole):
                self.below[whole[: length + 1]] += 1
                self.following[whole[:length]].add(token)

    def scores(self, histories):
        """Scores [users, items], -inf for titles that no beam spelled; a history is positions in the catalogue, oldest first."""
        users = max(1, 160 // self.told["beams"])
        chunks = [histories[start : start + users] for start in range(0, len(histories), users)]
        return torch.cat(
            [self._distances(c) if self.told["grounding"] == "distance" else self._spelled(c) for c in chunks]
        )

    def _encode(self, text, **more):
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, **more)

    def _inner(self, text):
        """The ids of a text within a sequence, without the space that some tokenizers put before every text."""
        if not self.told["adds_space"]:
            return self._encode(text)["input_ids"]
        found = self._encode("\n" + text, return_offsets_mapping=True)
        spans = zip(found["input_ids"], found["offset_mapping"], strict=True)
        return [token for token, (start, _) in spans if start >= 1]

    def _prompt(self, history):
        room = self.told["max_tokens"] - len(self.head) - len(self.tail) - self.told["title_tokens"] - len(self.end)
        kept = []
        for item in list(history)[::-1][: self.told["history"]]:
            joint = self.between if kept else []
            if len(kept) + len(joint) + len(self.titles[item]) > room:
                break
            kept = self.titles[item] + joint + kept
        return self.head + kept + self.tail

    def _padded(self, rows):
        longest = max(map(len, rows))
        ids = torch.tensor([[self.told["pad"]] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        return ids.to(self.model.device), mask.to(self.model.device)

    @torch.no_grad()
    def _ask(self, histories, returned, new, **more):
        ids, mask = self._padded([self._prompt(history) for history in histories])
        # what the base model's folder says about generation is for chats
        self.model.get_base_model().generation_config = GenerationConfig()
        config = GenerationConfig(
            max_new_tokens=new,
            num_beams=self.told["beams"],
            num_return_sequences=returned,
            do_sample=False,
            early_stopping=False,
            eos_token_id=self.eos,
            pad_token_id=self.told["pad"],
            return_dict_in_generate=True,
            output_scores=self.told["beams"] > 1,
            **more.pop("config", {}),
        )
        found = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=config, **more)
        return found, found.sequences[:, ids.shape[1] :].tolist()

    @torch.no_grad()
    def _embed(self, rows):
        """Last hidden states of the base model, without the adapter."""
        found, batch = [], self.told["batch"]
        texts = [[*self.told["before"], *row] or [self.eos] for row in rows]
        for start in range(0, len(texts), batch):
            ids, mask = self._padded(texts[start : start + batch])
            places = (mask.cumsum(1) - 1).clamp(min=0)
            with self.model.disable_adapter():
                inner = self.model.get_base_model().base_model
                hidden = inner(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False)
            hidden, weight = hidden.last_hidden_state.float(), mask.unsqueeze(-1).float()
            last = self.told["embedding"] == "last"
            found.append((hidden[:, -1] if last else (hidden * weight).sum(1) / weight.sum(1)).cpu())
        return torch.cat(found)

    def _distances(self, histories):
        _, answers = self._ask(histories, 1, self.told["title_tokens"] + len(self.end))
        rows = [self._inner(self._text(ids))[: self.told["title_tokens"]] for ids in answers]
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        vectors = self._embed([rows[row] for row in order])
        vectors = torch.empty_like(vectors).index_copy_(0, torch.tensor(order), vectors)
        return -torch.cdist(vectors, self.items, compute_mode="donot_use_mm_for_euclid_dist")

    def _text(self, ids):
        if self.eos in ids:
            ids = ids[: ids.index(self.eos)]
            ids = ids[: len(ids) - len(self.quote)] if ids[len(ids) - len(self.quote) :] == self.quote else ids
        text = self.tokenizer.decode([*self.quote, *ids], clean_up_tokenization_spaces=False)
        return text.lstrip().removeprefix(self.told["text"]["end"])

    def _spelled(self, histories):
        prompt = max(len(self._prompt(history)) for history in histories)
        # a title stays open while another item of the same title was not met
        met = [Counter(path for item in {*map(int, h)} for path in self._paths(item)) for h in histories]

        def open_tokens(user, ids):
            path = tuple(ids[prompt:].tolist())
            return [t for t in self.following.get(path, ()) if self.below[*path, t] > met[user][*path, t]] or [self.eos]

        beams, longest = self.told["beams"], max(map(len, self.titles)) + len(self.end)
        exact = {"length_penalty": 0.0} if beams > 1 else {}
        found, answers = self._ask(histories, beams, longest, prefix_allowed_tokens_fn=open_tokens, config=exact)
        scores = torch.full((len(histories), len(self.titles)), -torch.inf)
        for row, ids in enumerate(answers):
            whole = tuple(ids[: ids.index(self.eos) + 1]) if self.eos in ids else ()
            if whole in self.same:
                user = row // beams
                score = found.sequences_scores[row].item() if beams > 1 else self._likelihood(histories[user], whole)
                # below it are the library's own fillers
                if score > -1e8:
                    scores[user, self.same[whole]] = score
        return scores

    def _paths(self, item):
        whole = (*self.titles[item], *self.end)
        return [whole[: length + 1] for length in range(len(whole))]

    @torch.no_grad()
    def _likelihood(self, history, whole):
        ids, mask = self._padded([self._prompt(history) + list(whole)])
        logs = self.model(input_ids=ids, attention_mask=mask).logits[0, -len(whole) - 1 : -1].float().log_softmax(-1)
        return logs[torch.arange(len(whole)), torch.tensor(whole)].sum().item()
