<?php

declare(strict_types=1);

namespace Cheeseshop;

use RangeException;

/** What lies on the counter: cheeses by name, with their weight in grams. */
final class Counter
{
    /** @var array<string, int> */
    private array $grams = [];

    public function put(string $cheese, int $grams): void
    {
        if ($grams < 1) {
            throw new RangeException('a cheese weighs something');
        }
        $this->grams[$cheese] = ($this->grams[$cheese] ?? 0) + $grams;
    }

    public function sell(string $cheese, int $grams): void
    {
        if (($this->grams[$cheese] ?? 0) < $grams) {
            throw new RangeException('there is not so much of it');
        }
        $this->grams[$cheese] -= $grams;
    }

    public function weight(): int
    {
        return array_sum($this->grams);
    }
}
