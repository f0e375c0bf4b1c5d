<?php

declare(strict_types=1);

header('Content-Type: text/plain');
if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) !== '/healthz') {
    http_response_code(404);
}
echo "cheese\n";
