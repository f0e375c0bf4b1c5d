<?php

declare(strict_types=1);

use Cheeseshop\Counter;
use PHPUnit\Framework\TestCase;

final class CounterTest extends TestCase
{
    public function testWhatIsSoldIsGone(): void
    {
        $counter = new Counter();
        $counter->put('Wensleydale', 500);
        $counter->sell('Wensleydale', 200);
        self::assertSame(300, $counter->weight());
    }

    public function testThereMustBeEnough(): void
    {
        $this->expectException(RangeException::class);
        (new Counter())->sell('Venezuelan Beaver', 100);
    }

    public function testTheDatabaseGreets(): void
    {
        $greeting = $this->said((string) getenv('DATABASE_URL'), '');
        self::assertSame(10, ord($greeting[4]), 'the version of its protocol');
    }

    public function testTheCacheAnswers(): void
    {
        self::assertSame("+PONG\r\n", $this->said((string) getenv('REDIS_URL'), "PING\r\n"));
    }

    private function said(string $address, string $word): string
    {
        $parts = parse_url($address);
        $socket = fsockopen($parts['host'], $parts['port'], $code, $reason, 10.0);
        self::assertNotFalse($socket, $reason);
        fwrite($socket, $word);
        return (string) fread($socket, 4096);
    }
}
